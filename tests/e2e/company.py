"""The running product, filled with the demonstration company."""

import json

import psycopg

from kb.supervisor import addresses
from tests.e2e.visitor import Visitor, lines


class Company:
    """One installation and the people of its demonstration."""

    def __init__(self, product):
        self.product = product
        self.base = f"http://localhost:{product.port}"
        self.passwords = json.loads((product.data / "demo-passwords.json").read_text("utf-8"))
        self._states = {}

    def one(self, question, *values):
        """The first column of the only row that a question to the database finds."""
        with psycopg.connect(addresses.database_url(self.product.data)) as connection:
            ((answer,),) = connection.execute(question, values).fetchall()
        return answer

    def change(self, command, *values):
        """Arrange something that no page offers, or not quickly."""
        with psycopg.connect(addresses.database_url(self.product.data)) as connection:
            connection.execute(command, values)

    def speaks(self, person, language):
        """From now on this person reads Retex in this language."""
        self.change(
            "UPDATE accounts_user SET language = %s WHERE email = %s", language, address(person)
        )

    def window(self, browser, person, language, **window):
        """A new window of somebody who has signed in, or of a stranger where there is no person."""
        state = None
        if person is not None:
            state = self.signed_in(browser, person)
            self.speaks(person, language)
        return Visitor(browser, self.base, language=language, state=state, **window)

    def signed_in(self, browser, person):
        """What the browser keeps of somebody who has signed in; done once per person."""
        if person not in self._states:
            visitor = Visitor(browser, self.base)
            page = visitor.go("/accounts/login/")
            page.locator("#id_login").fill(address(person))
            page.locator("#id_password").fill(self.passwords[address(person)])
            page.locator("main form button").click()
            page.wait_for_url("/")
            self._states[person] = visitor.context.storage_state()
            assert not visitor.noise, lines(visitor.noise)
            visitor.close()
        return self._states[person]


def address(person):
    return f"{person}@retex.example"
