"""One thread: the tests are small, and run beside each other."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def executable():
    """The Chromium that tests of the page run in."""
    from chromium import found  # gradio takes seconds, and most tests need none

    return found()


@pytest.fixture(scope="module")
def browser(executable, tmp_path_factory):
    """A browser for the tests of a module."""
    from chromium import launched

    with launched(executable, tmp_path_factory.mktemp("profile")) as browser:
        yield browser
