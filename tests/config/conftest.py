"""What the tests of the config share."""

import pytest
import yaml

from support.configs import CONFIG, Config


@pytest.fixture
def config() -> Config:
    return yaml.safe_load(CONFIG.read_text())
