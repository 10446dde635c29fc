"""What the tests of the other side share: both event loops, and certificates of an authority of our own."""

from pathlib import Path

import pytest
import trustme

from tests.certificates import Files, files_of
from tests.proxy.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    return files_of(authority, tmp_path)
