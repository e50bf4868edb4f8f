"""Score new rows with trained models.

--model and --input take one or more files:
    python scripts/score.py --model model.safetensors --input new.parquet --output scores.parquet
"""

from entry import run_script
from tossctr.predict.scoring import score_files

if __name__ == "__main__":
    run_script(score_files)
