#!/usr/bin/python3
"""The application: books amounts on accounts, and writes an event per change into the outbox, in the same transaction.

    shop.py DSN [--accounts N] [--seed N]

It goes on until SIGTERM, over restarts of the database. Some transactions change several accounts, some take their time, some roll
back, so that sequence numbers appear out of order and have gaps, as they do in real life."""

import argparse
import json
import random
import signal
import sys
import time

import psycopg2

CHANGES = {"deposited": 1, "withdrawn": -1}


class Shop:
    def __init__(self, dsn, chance):
        self.dsn = dsn
        self.chance = chance
        self.running = True
        self.committed = 0

    def stop(self, *_):
        self.running = False

    def change(self, cursor, account):
        """One change of one account. The UPDATE comes first: its row lock, held until the commit, is what puts the events of an
        account in the order in which they are committed."""
        kind = self.chance.choice(list(CHANGES))
        cents = self.chance.randint(1, 99999)
        cursor.execute("UPDATE account SET balance_cents = balance_cents + %s, version = version + 1 WHERE id = %s "
                       "RETURNING version, balance_cents", (cents * CHANGES[kind], account))
        version, balance = cursor.fetchone()
        event = {"account": account, "version": version, "cents": cents, "balance_cents": balance}
        cursor.execute("INSERT INTO outbox (aggregate, kind, payload) VALUES (%s, %s, %s)",
                       (f"account-{account}", kind, json.dumps(event)))

    def transaction(self, connection, accounts):
        with connection.cursor() as cursor:
            for account in sorted(self.chance.sample(range(accounts), self.chance.choice((1, 1, 1, 2, 3)))):  # sorted: no deadlock
                self.change(cursor, account)
                if self.chance.random() < 0.05:
                    time.sleep(self.chance.uniform(0.01, 0.3))
        if self.chance.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()
            self.committed += 1

    def run(self, accounts):
        connection = None
        while self.running:
            try:
                connection = connection or psycopg2.connect(self.dsn)
                self.transaction(connection, accounts)
                time.sleep(0.002)
            except psycopg2.Error as error:  # the database went away: the transaction is committed wholly or not at all
                print(f"goes on after: {str(error).strip()}", flush=True)
                connection = None
                time.sleep(0.2)
        print(f"committed {self.committed}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn")
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    shop = Shop(arguments.dsn, random.Random(arguments.seed))
    signal.signal(signal.SIGTERM, shop.stop)
    signal.signal(signal.SIGINT, shop.stop)
    shop.run(arguments.accounts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
