"""Write a summary of all models: which is best, by how much, and which to submit."""

from entry import run_script
from tossctr.report.summary import write_summary

if __name__ == "__main__":
    run_script(write_summary)
