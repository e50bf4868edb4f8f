"""What several test modules share: made-up data, models and trainings, stand-ins for services."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts"
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("[a-z]*/*.md")]
