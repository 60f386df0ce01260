"""Hashes of passwords: each scheme verified against what its own tools made."""

from __future__ import annotations

import subprocess

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config import ConfigError, parse
from edgewise.config.htpasswd import read_htpasswd
from edgewise.config.passwords import scheme_of
from edgewise.gateway.passwords import make_hash, matching, verify

MADE = {
    "argon2": PasswordHasher(time_cost=1, memory_cost=1024).hash("sesame"),
    "bcrypt": "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
    "apr1": "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
    "sha": "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=",
}
"""Those that htpasswd makes are Apache's own examples, of "myPassword"."""
PASSWORDS = {"argon2": b"sesame", "bcrypt": b"myPassword", "apr1": b"myPassword", "sha": b"myPassword"}


@pytest.mark.parametrize("scheme", MADE)
def test_each_scheme_knows_its_password(scheme: str) -> None:
    found = scheme_of(MADE[scheme])
    assert found is not None
    assert found.name == scheme
    password = PASSWORDS[scheme]
    assert verify(MADE[scheme], password)
    for other in (
        b"",
        password + b"x",
        password[:-1],
        password.upper(),
        b"\0" + password,
        password + b"\0",
        b"x" * 2000,
    ):
        assert not verify(MADE[scheme], other)


@pytest.mark.parametrize("option", ["-apr1", "-5", "-6"])
@pytest.mark.parametrize("password", ["x", "sesame open", "grüß Gott", "p" * 100])
def test_what_openssl_makes_is_verified(option: str, password: str) -> None:
    made = subprocess.run(
        ["openssl", "passwd", option, password], capture_output=True, text=True, check=True, timeout=60
    )
    users, problems = read_htpasswd(f"alice:{made.stdout}".encode())
    assert problems == []
    assert verify(users["alice"], password.encode())
    assert not verify(users["alice"], password.encode() + b"x")


def test_a_hash_that_is_made_is_one_of_argon2() -> None:
    made = make_hash("sesame")
    assert made.startswith("$argon2id$")
    assert matching((MADE["sha"], made), b"sesame") == made
    assert matching((MADE["sha"],), b"sesame") is None
    assert matching((), b"sesame") is None


@pytest.mark.parametrize(
    "text",
    [
        "plain text",
        "rqXexS6ZhobKA",  # DES-crypt, which reads eight characters
        "{PLAIN}sesame",
        "$5$rounds=999999$salt$" + "a" * 43,
        "$6$rounds=1000000$salt$" + "a" * 86,
        "$2y$31$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
        "$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/ ,",
    ],
)
def test_what_is_no_hash_or_takes_too_long_is_nobodys_password(text: str) -> None:
    assert scheme_of(text) is None
    assert not verify(text, b"sesame")
    assert read_htpasswd(f"alice:{text}".encode()).users == {}


def test_without_the_library_the_check_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewise.config.passwords.find_spec", lambda name: None)
    toml = f'[consumers.mobile]\npasswords = ["{MADE["argon2"]}"]\n[[routes]]\nrespond = {{}}\n'
    with pytest.raises(ConfigError, match=r"argon2 needs the extra 'passwords': pip install 'edgewise\[passwords\]'"):
        parse(toml)
    users, problems = read_htpasswd("\n".join(f"{name}:{text}" for name, text in MADE.items()).encode())
    assert users.keys() == {"sha"}
    assert [problem.partition(" needs")[0] for problem in problems] == [
        "line 1: argon2",
        "line 2: bcrypt",
        "line 3: apr1",
    ]


@given(st.binary(max_size=200))
def test_whatever_is_in_a_file_of_users_is_read_or_told(content: bytes) -> None:
    users, problems = read_htpasswd(content)
    lines = [line for line in content.split(b"\n") if line.strip(b" \t\r") and not line.startswith(b"#")]
    assert len(problems) <= len(lines)
    assert all(scheme_of(hashed) for hashed in users.values())


@given(st.text(max_size=80), st.binary(max_size=40))
def test_no_text_is_a_hash_that_fails_otherwise_than_by_being_none(text: str, password: bytes) -> None:
    for prefix in ("", "{SHA}", "{SSHA}", "$apr1$", "$2b$10$", "$argon2id$v=19$m=8,t=1,p=1$"):
        verify(prefix + text, password)
