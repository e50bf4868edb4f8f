"""Describe the rows of one size: facts, alarms, plots and a page."""

from entry import run_script
from tossctr.report.data_page import describe_data

if __name__ == "__main__":
    run_script(describe_data)
