"""Fit the feature map (vocabularies and numeric ranges) to the train rows."""

from entry import run_script
from tossctr.features.fitting import write_feature_map

if __name__ == "__main__":
    run_script(write_feature_map)
