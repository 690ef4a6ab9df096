"""What a kept study holds."""

import optuna
import pytest

from anybudget.search.explore.storage import close_storage, open_storage


@pytest.fixture
def kept_trials():
    """A function of a storage's URL."""

    def read(url):
        storage = open_storage(url)
        trials = optuna.load_study(study_name="anybudget", storage=storage).trials
        close_storage(storage)
        return trials

    return read
