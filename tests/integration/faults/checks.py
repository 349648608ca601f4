"""What must hold after any fault: invariants by SQL, the topics, a run without faults over the same input, the
oracle."""

import collections
import pathlib
import subprocess

import world as worlds  # of tests/worlds
from deployment import OUTPUTS, at
from oracle import rules
from stream import FIRST_DAY, GRACE, LATE_DAYS

# What must hold in the database alone. Each query returns the rows that break it.
INVARIANTS = {
    "I1: a close counts rejects that are not there": """
        select c.* from settled.day_cutoffs c where rejected <> (
            select count(*) from settled.rejects r where r.topic = c.topic and r.partition = c.shard
               and r.kafka_offset >= c.from_offset and r.kafka_offset < c.to_offset)""",
    "I1: rejects beyond what was read": """
        select r.topic, r.partition, r.kafka_offset from settled.rejects r
          join settled.shard_logs l on l.shard = r.partition and l.topic = r.topic
         where r.kafka_offset >= l.next_offset""",
    "I2: a settlement's lines do not add up": """
        select s.account_id, s.business_day, s.amount from settled.settlements s
         where amount <> (select coalesce(sum(amount), 0) from settled.settlement_lines l
                           where l.account_id = s.account_id and l.business_day = s.business_day)""",
    "I3: the outbox has a gap": """
        select s.shard, s.sequence, count(o.*), min(o.sequence), max(o.sequence)
          from settled.shards s left join settled.outbox o using (shard) group by s.shard, s.sequence
        having s.sequence > 0 and (max(o.sequence) is distinct from s.sequence
                                   or count(o.*) <> max(o.sequence) - min(o.sequence) + 1)""",
    "I3: more is published than there is": "select shard from settled.shards where relayed > sequence",
    "I4: a ledger does not add up": """
        select * from (select account_id, position, balance - amount as opening,
                              lag(balance, 1, 0::bigint) over (partition by account_id order by position) as before,
                              row_number() over (partition by account_id order by position) as number
                         from settled.account_statement) as x where opening <> before or position <> number""",
    "I4: a balance is not the ledger's": """
        select a.account_id, a.balance from settled.accounts a where balance <>
            (select coalesce(sum(amount), 0) from settled.account_statement s where s.account_id = a.account_id)""",
    "I7: a cutoff does not begin where the one before ended": """
        select * from (select shard, topic, business_day, from_offset,
                              lag(to_offset) over (partition by shard, topic order by business_day) as before
                         from settled.day_cutoffs) as x where before <> from_offset""",
    "I7: a close lacks a cutoff": """
        select c.shard, c.business_day from settled.day_closes c left join settled.day_cutoffs using (shard, business_day)
         group by 1, 2 having count(topic) <> 3""",
    "I8: suspensions and resumptions do not alternate": """
        select * from (select account_id, account_sequence, status,
                              row_number() over (partition by account_id order by account_sequence) as number
                         from settled.status_changes) as x
         where number <> account_sequence or status <> case when mod(number, 2) = 1 then 'SUSPENDED' else 'ACTIVE' end""",
    "I9: days are not closed one after the other": """
        select * from (select shard, business_day, lag(business_day) over (partition by shard order by business_day) as before,
                              lag(digest, 1, repeat('0', 64)) over (partition by shard order by business_day) as chained,
                              previous_digest from settled.day_closes) as x
         where before <> business_day - 1 or chained <> previous_digest""",
    "I9: the open day does not follow the last close": """
        select s.shard, s.open_day, max(c.business_day) from settled.shards s left join settled.day_closes c using (shard)
         group by 1, 2 having s.open_day <> max(c.business_day) + 1""",
}

# What two databases over the same topics may differ in.
FREE = {
    "shards": {"epoch", "step", "sequence", "chain_hash", "relayed", "claimed_at", "committed_at", "held_since"},
    "settlements": {"sequence"}, "status_changes": {"sequence"}, "rejects": {"sequence"},
    "notices": {"sequence"}, "month_statements": {"sequence"},
    "day_closes": {"sequence", "closed_at"}, "writer_schemas": {"recorded_at", "fetched_at", "stored_at"},
}
TABLES = ("accounts", "credits", "packages", "settlements", "settlement_lines", "status_changes", "notices", "month_statements",
          "month_statement_lines", "day_closes", "day_cutoffs", "rejects", "shards", "shard_logs", "account_statement")


class Watch:
    """Values that must never go back or change between two checks."""

    def __init__(self):
        self.epochs, self.cutoffs = {}, {}

    def look(self, deployment):
        found = []
        for shard, epoch, step, sequence in deployment.sql("select shard, epoch, step, sequence from settled.shards"):
            before = self.epochs.get(shard, (0, 0, 0))
            if any(now < then for now, then in zip((epoch, step, sequence), before)):
                found.append(f"I5: shard {shard} went back from {before} to {(epoch, step, sequence)}")
            self.epochs[shard] = (epoch, step, sequence)
        rows = deployment.sql("select shard, business_day, topic, from_offset, to_offset, cut_by, accepted, duplicates,"
                              " rejected, void from settled.day_cutoffs")
        now = {row[:3]: row[3:] for row in rows}
        found += [f"I7: the cutoff {key} changed from {row} to {now.get(key)}"
                  for key, row in self.cutoffs.items() if now.get(key) != row]
        self.cutoffs = now
        return found


def check_invariants(deployment):
    found = []
    for what, query in INVARIANTS.items():
        rows = deployment.sql(query)
        found += [f"{what}: {row}" for row in rows[:5]]
    first = deployment.sql("select min(business_day)::text from settled.day_closes having count(*) > 0")
    if first and first[0][0] != FIRST_DAY:
        found.append(f"I9: the first day closed is {first[0][0]}")
    return found


def check_tally(deployment, tally, last_closed):
    """I1, from the sender's side: exactly what was sent to be billed is billed."""
    cut_by = {row[0] for row in deployment.sql("select distinct cut_by from settled.day_cutoffs")}
    if cut_by != {"RECORD"}:
        return []  # a wrong clock cut a day early: what is late then is not what the sender expected
    until = last_closed - LATE_DAYS
    want = collections.Counter({key: units for key, units in tally.items() if key[2] <= until and units})
    have = collections.Counter({
        (account, service, worlds.day_number(day)): int(units)
        for account, service, day, units in deployment.sql(
            "select account_id, service, usage_day, sum(units) from settled.settlement_lines group by 1, 2, 3")
        if worlds.day_number(day) <= until and units})
    return [f"I1: {key}: {want[key]} units sent, {have[key]} settled"
            for key in want.keys() | have.keys() if want[key] != have[key]]


def rows_of(deployment, table):
    columns = [row[0] for row in deployment.sql(
        "select column_name from information_schema.columns where table_schema = 'settled' and table_name = %s"
        " order by ordinal_position", table)]
    columns = [column for column in columns if column not in FREE.get(table, ())]
    return columns, sorted(deployment.sql(f"select {', '.join(columns)} from settled.{table}"), key=repr)


def bodies_of(deployment, key):
    found = [(partition, body["sequence"], record_key, {n: v for n, v in body.items() if n != "sequence"})
             for partition, record_key, _, body in deployment.read(key)]
    found.sort(key=lambda each: each[:2])
    bodies = [(partition, record_key, body) for partition, _, record_key, body in found]
    if key == "rejects":  # of three logs: which comes first is not determined
        bodies.sort(key=lambda each: (each[0], each[2]["topic"], each[2]["offset"]))
    return bodies


def compare_runs(calm, rough):
    """Compares every table and every topic of a run without faults and of one with faults."""
    found = []
    for table in TABLES:
        columns, want = rows_of(calm, table)
        _, have = rows_of(rough, table)
        if want != have:
            missing, more = [r for r in want if r not in have], [r for r in have if r not in want]
            found.append(f"table {table} {columns}: {len(missing)} missing, {len(more)} too much: "
                         f"{missing[:3]} {more[:3]}")
    for key in OUTPUTS:
        want, have = bodies_of(calm, key), bodies_of(rough, key)
        if want != have:
            missing, more = [r for r in want if r not in have], [r for r in have if r not in want]
            found.append(f"topic {key}: {len(want)} records without faults, {len(have)} with: {len(missing)} missing, "
                         f"{len(more)} too much: {missing[:2]} {more[:2]}")
    return found


class Facts(worlds.World):
    """A deployment, as tests/worlds looks at its own."""

    def __init__(self, deployment, clock, schemas):
        self.name, self.brokers, self.dsns, self.topics = (deployment.name, deployment.brokers, deployment.dsns,
                                                           deployment.topics)
        self.deployment, self.clock, self.schemas = deployment, clock, schemas
        self.open_transaction = None
        self.told = {}  # nobody asks the program meanwhile
        self.books = [pathlib.Path(deployment.book).read_bytes()]
        self.generator = self
        self.first_day = rules.day_of(at(FIRST_DAY))
        self.partitions, self.head = deployment.partitions, deployment.head
        self.drains = self.drains_of_cutoffs()

    def drains_of_cutoffs(self):
        """The recorded ends of each day, if a clock cut any of them; otherwise the oracle finds the ends by itself."""
        rows = self.sql("select shard, business_day, topic, to_offset, cut_by from settled.day_cutoffs order by 2")
        names = {topic: key for key, topic in self.topics.items()}
        days = collections.defaultdict(lambda: {log: [0] * self.partitions for log in rules.LOGS})
        for shard, day, topic, to_offset, cut_by in rows:
            # The record that cut the log is looked at; where a clock cut it, nothing behind the end is.
            days[worlds.day_number(day)][names[topic]][shard] = to_offset + (cut_by == "RECORD")
        decided = self.decided()
        last = (self.clock, self.ends(), decided)
        if {row[4] for row in rows} <= {"RECORD"}:
            return [last]
        return [(rules.start_of(day + 1) + GRACE, ends, decided) for day, ends in sorted(days.items())] + [last]


def compare_with_oracle(deployment, clock, schemas):
    facts = Facts(deployment, clock, schemas)
    oracle = facts.oracle()
    out = worlds.Differences()
    worlds.compare_tables(facts, oracle, out)
    worlds.compare_topics(facts, oracle, out)
    return [f"oracle: {each}" for each in out]


def audit(deployment):
    """The audit of the program: the same fold over the recorded cutoffs, compared with every table and topic."""
    done = subprocess.run([deployment.settled, "audit", "-c", deployment.config], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)
    return [] if done.returncode == 0 else [f"audit ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}"]
