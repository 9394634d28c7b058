import io
import shutil
import tempfile
from pathlib import Path

import pytest

from kb.supervisor.terminal import Terminal


class Heard(Terminal):
    """A terminal that remembers."""

    def __init__(self):
        self.stream = io.StringIO()
        super().__init__(self.stream)

    @property
    def text(self):
        return self.stream.getvalue()


@pytest.fixture
def terminal():
    return Heard()


@pytest.fixture
def data():
    """An empty data folder with a short path, as in any usual place."""
    folder = Path(tempfile.mkdtemp(prefix="retex-")).resolve()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
