import json
import stat
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from django.contrib.auth.password_validation import validate_password

from kb.supervisor import passwords
from kb.supervisor.private_files import keep_once, known_secret_key, secret_key


def test_a_kept_text_is_made_once_and_readable_by_its_owner_only(tmp_path):
    path = tmp_path / "folder" / "secret"

    first = keep_once(path, lambda: "one")
    second = keep_once(path, lambda: "two")

    assert (first, second) == ("one", "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


def test_many_who_ask_at_once_get_the_same_text(tmp_path):
    numbers = count()
    path = tmp_path / "secret"

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda _: keep_once(path, lambda: str(next(numbers))), range(64)))

    assert set(texts) == {path.read_text()}


def test_the_secret_key_is_long_random_and_stays(tmp_path):
    assert known_secret_key(tmp_path) == ""

    key = secret_key(tmp_path)

    assert len(key) == 64
    assert secret_key(tmp_path) == key == known_secret_key(tmp_path)
    assert secret_key(tmp_path / "other") != key


def test_demo_passwords_are_words_a_sign_in_form_accepts(tmp_path):
    found = passwords.demo_passwords(tmp_path)

    assert list(found) == ["admin@retex.example", "auteur@retex.example", "lecteur@retex.example"]
    for password in found.values():
        validate_password(password)
        assert len(password) >= 12
        assert len(password.split("-")) == 4
        assert password.replace("-", "").isalpha()
    assert len(set(found.values())) == 3


def test_demo_passwords_agree_between_the_loader_and_the_printer(tmp_path):
    found = passwords.demo_passwords(tmp_path)

    assert passwords.demo_passwords(tmp_path) == found
    assert json.loads(passwords.demo_passwords_path(tmp_path).read_text()) == found
    assert stat.S_IMODE(passwords.demo_passwords_path(tmp_path).stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["{", "[]", '{"admin@retex.example": "x"}', "null"])
def test_a_damaged_file_of_demo_passwords_is_named(tmp_path, text):
    path = passwords.demo_passwords_path(tmp_path)
    path.write_text(text)

    with pytest.raises(ValueError, match=str(path)):
        passwords.demo_passwords(tmp_path)


def test_the_words_are_as_many_as_the_strength_counts_on():
    assert len(set(passwords._WORDS)) == 256
