"""What the tests of Keras's files share."""

import pytest
from keras_files import generated


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with the files of Keras's models, and the names of these."""
    return generated(tmp_path_factory.mktemp("keras"), "numpy", "0", "60", "1")
