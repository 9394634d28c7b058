import pytest

from tests.factories import make_admin


@pytest.fixture
def admin(client):
    """An administrator of the company, who is signed in."""
    person = make_admin(name="Hélène Admin")
    client.force_login(person)
    return person
