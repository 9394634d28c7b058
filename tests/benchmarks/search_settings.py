"""The product's own settings, and one more page: the least a Django page can cost."""

from kb.settings import *  # noqa: F403

ROOT_URLCONF = "tests.benchmarks.search_floor"
