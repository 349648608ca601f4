-- What money depends on, one schema. Written by one process a shard (it locks the shard's row first); read by people,
-- the audit and the console. Enumerations are text, equal to the Avro symbols; amounts are fen; ids sort by bytes.
-- There are no foreign keys from the bulk tables: a step is written whole, in one transaction, by one writer, and a
-- key check a line would double the cost of a day's close.

create schema if not exists settled;

create table if not exists settled.schema_migrations (
    number     integer primary key,
    name       text not null,
    sha256     text not null,
    applied_at timestamptz not null default now()
);

-- Recorded once; a later difference stops the program.
create table if not exists settled.deployment (
    one             boolean primary key default true check (one),
    first_day       date not null,
    timestamps      text not null check (timestamps in ('log-append', 'create')),
    partitioner     text not null check (partitioner in ('murmur2', 'crc32')),
    framing         text not null check (framing in ('confluent', 'apicurio')),
    partitions      integer not null check (partitions > 0),
    time_zone       text not null,
    id_key          bytea not null check (octet_length(id_key) = 32),
    consumer_group  text not null,
    cluster_id      text not null default '',
    calls_topic     text not null,
    purchases_topic text not null,
    credits_topic   text not null,
    database        integer not null default 0 check (database between 0 and databases - 1),
    databases       integer not null default 1 check (databases > 0),
    recorded_at     timestamptz not null default now()
);
comment on column settled.deployment.database is 'this one, of so many databases: it has the shards whose number modulo databases is this. Number 0 is home; in the others this row, the parameters and the price books are copies';
comment on column settled.deployment.id_key is 'keys the index of identities; no output depends on it';

create table if not exists settled.price_books (
    sha256         text primary key,
    name           text not null,
    effective_from date not null unique,
    file           bytea not null,
    recorded_at    timestamptz not null default now(),
    recorded_by    text not null default session_user
);
comment on column settled.price_books.effective_from is '-infinity: the first version, always in force';
comment on column settled.price_books.file is 'the YAML file, byte by byte';

create table if not exists settled.parameters (
    from_day              date primary key,
    grace_ms              bigint not null,
    late_days             integer not null,
    future_tolerance_ms   bigint not null,
    credit_days           integer not null,
    max_reject_share_ppm  integer not null,
    max_refused_share_ppm integer not null,
    package_left          bigint[] not null,
    expiring_days         bigint[] not null,
    balance_below         bigint[] not null,
    book_sha256           text not null references settled.price_books,
    recorded_at           timestamptz not null default now(),
    recorded_by           text not null default session_user
);
comment on table settled.parameters is 'in force from from_day on; a row only ever starts on a day that no shard has opened';

-- Prices and limits come from these rows, and whoever may write may insert one by hand. It is always told who did: what
-- an insert claims about that is not taken.
create or replace function settled.name_recorder() returns trigger language plpgsql as $$
begin
    new.recorded_by := session_user;
    new.recorded_at := now();
    return new;
end $$;
drop trigger if exists name_recorder on settled.price_books;
create trigger name_recorder before insert on settled.price_books
    for each row execute function settled.name_recorder();
drop trigger if exists name_recorder on settled.parameters;
create trigger name_recorder before insert on settled.parameters
    for each row execute function settled.name_recorder();

create table if not exists settled.writer_schemas (
    id          bigint primary key,
    schema      text not null,
    recorded_at timestamptz not null default now()
);
comment on table settled.writer_schemas is 'every schema an input was ever decoded by: replays need no registry';

-- ---- shards ----

create table if not exists settled.shards (
    shard           integer primary key check (shard >= 0),
    epoch           bigint not null,
    step            bigint not null default 0,
    open_day        date,
    held_since      timestamptz,
    released_at     timestamptz check (held_since is null or released_at is null),
    calls_from      bigint not null default 0,
    horizon         date not null default '-infinity',
    decisions       bigint not null default 0,
    sequence        bigint not null default 0,
    chain_hash      bytea not null default decode(repeat('00', 32), 'hex') check (octet_length(chain_hash) = 32),
    previous_digest text not null default repeat('0', 64),
    relayed         bigint not null default 0 check (relayed <= sequence),
    month           date check ((month is null) = (open_day is null)),
    month_after     text collate "C" not null default '',
    claimed_at      timestamptz not null default now(),
    address         text not null default '',
    committed_at    timestamptz
) with (fillfactor = 50);
comment on column settled.shards.epoch is 'raised by each new owner; a lower one commits nothing';
comment on column settled.shards.address is 'host:port at which the owner answers HTTP; empty: it does not';
comment on column settled.shards.step is 'commits so far: tells what became of a commit whose answer was lost';
comment on column settled.shards.open_day is 'the oldest day that is not settled; null: the shard has not begun';
comment on column settled.shards.held_since is 'the open day is held: too many rejects on one of its logs; settled.holds says why';
comment on column settled.shards.released_at is 'the open day was held and is released: its cutoffs are the next_offset of its logs';
comment on column settled.shards.calls_from is 'a replay of the calls starts at this offset';
comment on column settled.shards.horizon is 'latest day whose price book judged a record';
comment on column settled.shards.sequence is 'of the last outbox row; chain_hash is that row''s hash';
comment on column settled.shards.month is 'the last day of the month whose statements come next; those of earlier months are written';
comment on column settled.shards.month_after is 'the last account whose statement of that month is written, if it had one; empty: none is';
comment on column settled.shards.relayed is 'known to be published up to here';

create table if not exists settled.shard_logs (
    shard             integer not null references settled.shards,
    topic             text not null,
    next_offset       bigint not null,
    from_offset       bigint not null,
    accepted          bigint not null,
    duplicates        bigint not null,
    rejected          bigint not null,
    void              bigint not null,
    undecided         bigint not null,
    undecided_broken  bigint not null,
    undecided_refused bigint not null,
    last_offset       bigint not null,
    last_timestamp    bigint not null,
    last_hash         bigint not null,
    primary key (shard, topic),
    check (accepted + duplicates + rejected + void = next_offset - from_offset)
) with (fillfactor = 50);
comment on table settled.shard_logs is 'how far a shard has read each input; the counts are since the last cutoff';
comment on column settled.shard_logs.undecided is 'rejects since the last cutoff that no operator has decided about; the next two by the group that counts towards a held day';
comment on column settled.shard_logs.last_timestamp is 'ms; with last_offset and last_hash the last record that was read, to know the log again';

-- ---- accounts and their ledger ----

create table if not exists settled.accounts (
    account_id       text collate "C" primary key,
    shard            integer not null,
    balance          bigint not null,
    status           text not null check (status in ('ACTIVE', 'SUSPENDED')),
    account_sequence bigint not null,
    opening          bigint not null,
    credits          bigint not null,
    adjustments      bigint not null,
    position         bigint not null,
    suspended_since  timestamptz check ((suspended_since is not null) = (status = 'SUSPENDED')),
    check (balance = opening + credits + adjustments)
) with (fillfactor = 80);
create index if not exists accounts_shard on settled.accounts (shard);
comment on column settled.accounts.opening is 'balance after the last settlement; credits and adjustments are since then';
comment on column settled.accounts.position is 'of the last row of its statement';
comment on column settled.accounts.suspended_since is 'effective_at of the change that suspended it, whose month may be retired';

create table if not exists settled.credits (
    account_id   text collate "C" not null,
    credit_id    text collate "C" not null,
    kind         text not null check (kind in ('TOP_UP', 'ADJUSTMENT')),
    amount       bigint not null,
    credited_at  timestamptz not null,
    received_at  timestamptz not null,
    reason       text,
    reference    text,
    kafka_offset bigint not null,
    shard        integer not null,
    position     bigint not null,
    balance      bigint not null,
    business_day date not null,
    primary key (account_id, credit_id, kafka_offset, business_day)
) partition by range (business_day);
create index if not exists credits_shard on settled.credits (shard, kafka_offset);
create index if not exists credits_known on settled.credits (shard, credited_at);
comment on column settled.credits.kafka_offset is 'tells two credits apart that share an id: it was forgotten in between';

create table if not exists settled.packages (
    account_id   text collate "C" not null,
    package_id   text collate "C" not null,
    service      text not null,
    units        bigint not null,
    remaining    bigint not null check (remaining between 0 and units - used),
    amount       bigint not null,
    valid_from   timestamptz not null,
    valid_until  timestamptz not null,
    kafka_offset bigint not null,
    shard        integer not null,
    used         bigint not null,
    primary key (account_id, package_id, kafka_offset)
) with (fillfactor = 80);
create index if not exists packages_known on settled.packages (shard, valid_from);
comment on column settled.packages.kafka_offset is 'tells two packages apart that share an id: it was forgotten in between';
comment on column settled.packages.used is 'used up before the purchase was recorded here, in the system billed by until then';

create table if not exists settled.settlements (
    account_id            text collate "C" not null,
    business_day          date not null,
    settlement_id         text not null,
    calls                 bigint not null,
    calls_while_suspended bigint not null,
    amount                bigint not null,
    opening_balance       bigint not null,
    credits               bigint not null,
    adjustments           bigint not null,
    closing_balance       bigint not null,
    status                text not null check (status in ('ACTIVE', 'SUSPENDED')),
    shard                 integer not null,
    sequence              bigint not null,
    position              bigint not null,
    primary key (account_id, business_day),
    check (closing_balance = opening_balance + credits + adjustments - amount)
) partition by range (business_day);
-- Rows come in the order of their days, so that a few bytes a megabyte tell where a day lies. They cost a COPY of these two
-- tables a tenth of its CPU time, which is about a hundredth of a close.
create index if not exists settlements_day on settled.settlements using brin (business_day)
    with (pages_per_range = 32, autosummarize = on);

create table if not exists settled.settlement_lines (
    account_id   text collate "C" not null,
    business_day date not null,
    line_no      integer not null,
    usage_day    date not null,
    service      text not null,
    charge       text not null check (charge in ('PACKAGE', 'POSTPAID')),
    package_id   text collate "C",
    tier_from    bigint,
    calls        bigint not null,
    units        bigint not null,
    unit_price   bigint not null,
    amount       bigint not null,
    package_units  bigint,
    package_amount bigint,
    package_offset bigint,
    calls_begun  bigint not null check (calls_begun between 0 and calls),
    primary key (account_id, business_day, line_no),
    check (num_nonnulls(package_id, package_units, package_amount, package_offset) = case charge when 'PACKAGE' then 4 else 0 end)
) partition by range (business_day);
create index if not exists settlement_lines_day on settled.settlement_lines using brin (business_day)
    with (pages_per_range = 32, autosummarize = on);
comment on column settled.settlement_lines.package_units is 'of the package, as it was bought; likewise package_amount';
comment on column settled.settlement_lines.calls_begun is 'each call counts once, on the first of its lines';
comment on column settled.settlement_lines.package_offset is 'of the package''s purchase: packages.kafka_offset';

create table if not exists settled.status_changes (
    account_id       text collate "C" not null,
    account_sequence bigint not null,
    status           text not null check (status in ('ACTIVE', 'SUSPENDED')),
    cause            text not null check (cause in ('ARREARS', 'CREDIT', 'ADJUSTMENT')),
    settlement_id    text,
    credit_id        text collate "C",
    balance          bigint not null,
    effective_at     timestamptz not null,
    shard            integer not null,
    sequence         bigint not null,
    suspended_since  timestamptz check ((suspended_since is null) = (status = 'SUSPENDED')),
    business_day     date not null,
    primary key (account_id, account_sequence, business_day),
    check ((settlement_id is null) <> (credit_id is null))
) partition by range (business_day);
create index if not exists status_changes_shard on settled.status_changes (shard, effective_at);
comment on column settled.status_changes.suspended_since is 'of a resumption: when the suspension began that it ends';

create table if not exists settled.notices (
    account_id   text collate "C" not null,
    notice_id    text collate "C" not null,
    business_day date not null,
    kind         text not null check (kind in ('PACKAGE_LOW', 'PACKAGE_EXPIRING', 'PACKAGE_EXPIRED', 'BALANCE_LOW')),
    package_id   text collate "C",
    service      text,
    units        bigint,
    remaining    bigint,
    valid_until  timestamptz,
    balance      bigint,
    threshold    bigint,
    shard        integer not null,
    sequence     bigint not null,
    primary key (account_id, notice_id, business_day),
    check ((package_id is null) = (kind = 'BALANCE_LOW')),
    check ((balance is null) = (kind <> 'BALANCE_LOW')),
    check ((threshold is null) = (kind = 'PACKAGE_EXPIRED')),
    check (num_nulls(package_id, service, units, remaining, valid_until) in (0, 5))
) partition by range (business_day);
create index if not exists notices_shard on settled.notices (shard, business_day);
comment on column settled.notices.threshold is 'what was reached: percent of units, days, or fen, by kind';

-- Of a calendar month, by its last business day: written when that day is closed.
create table if not exists settled.month_statements (
    account_id      text collate "C" not null,
    business_day    date not null,
    statement_id    text not null,
    month           text not null check (month = to_char(business_day, 'YYYY-MM')),
    opening_balance bigint not null,
    credits         bigint not null,
    adjustments     bigint not null,
    amount          bigint not null,
    closing_balance bigint not null,
    status          text not null check (status in ('ACTIVE', 'SUSPENDED')),
    settlements     bigint not null,
    calls           bigint not null,
    packages_bought bigint not null,
    packages_amount bigint not null,
    shard           integer not null,
    sequence        bigint not null,
    primary key (account_id, business_day),
    check (closing_balance = opening_balance + credits + adjustments - amount)
) partition by range (business_day);
create index if not exists month_statements_day on settled.month_statements using brin (business_day)
    with (pages_per_range = 32, autosummarize = on);

create table if not exists settled.month_statement_lines (
    account_id   text collate "C" not null,
    business_day date not null,
    line_no      integer not null,
    service      text not null,
    charge       text not null check (charge in ('PACKAGE', 'POSTPAID')),
    package_id   text collate "C",
    tier_from    bigint,
    unit_price   bigint not null,
    calls        bigint not null,
    units        bigint not null,
    amount       bigint not null,
    primary key (account_id, business_day, line_no)
) partition by range (business_day);
create index if not exists month_statement_lines_day on settled.month_statement_lines using brin (business_day)
    with (pages_per_range = 32, autosummarize = on);

-- ---- days ----

create table if not exists settled.day_closes (
    shard           integer not null,
    business_day    date not null,
    late            bigint not null,
    zero_unit_calls bigint not null,
    settlements     bigint not null,
    amount          bigint not null,
    price_book      text not null,
    parameters      text not null,
    content_digest  text not null,
    previous_digest text not null,
    digest          text not null,
    sequence        bigint not null,
    calls_from      bigint not null,
    closed_at       timestamptz not null,
    primary key (shard, business_day)
);
comment on column settled.day_closes.calls_from is 'a replay of the day that opened with this close starts at this offset of the calls';

create table if not exists settled.day_cutoffs (
    shard        integer not null,
    business_day date not null,
    topic        text not null,
    from_offset  bigint not null,
    to_offset    bigint not null,
    cut_by       text not null check (cut_by in ('RECORD', 'CLOCK', 'RELEASE')),
    accepted     bigint not null,
    duplicates   bigint not null,
    rejected     bigint not null,
    void         bigint not null,
    primary key (shard, business_day, topic),
    check (accepted + duplicates + rejected + void = to_offset - from_offset)
);
-- A day that was held has judged records of later days.
create index if not exists day_cutoffs_released on settled.day_cutoffs (shard, business_day) where cut_by = 'RELEASE';
comment on table settled.day_cutoffs is 'where a day ends on each log: recorded once, ruling for ever; to_offset is exclusive';

create table if not exists settled.holds (
    shard          integer not null,
    business_day   date not null,
    topic          text not null,
    reasons        text not null check (reasons in ('broken', 'refused')),
    rejects        bigint not null check (rejects > 0),
    records        bigint not null check (records >= rejects),
    at_offset      bigint not null,
    after_decision bigint not null,
    held_at        timestamptz not null,
    primary key (shard, business_day, topic, reasons)
);
comment on table settled.holds is 'why a day was held: of so many records of a log so many undecided rejects of a group, when it stood at at_offset';
comment on column settled.holds.after_decision is 'number of the last decision that had been applied by then; what it and those before it decided is not among the rejects';

-- ---- rejects, requests, decisions ----

create table if not exists settled.rejects (
    topic        text not null,
    partition    integer not null,
    kafka_offset bigint not null,
    reason       text not null,
    detail       text not null,
    account_id   text collate "C",
    record_id    text collate "C",
    received_at  timestamptz not null,
    sequence     bigint not null,
    decision     bigint,
    schema_id    bigint,
    business_day date not null,
    primary key (topic, partition, kafka_offset, business_day)
) partition by range (business_day);
create index if not exists rejects_received on settled.rejects (received_at);
create index if not exists rejects_account on settled.rejects (account_id) where account_id is not null;
comment on column settled.rejects.account_id is 'null where it was not decoded or is no id by the rules; so is record_id';
comment on column settled.rejects.schema_id is 'of the writer''s schema, as the record names it; null: it names none';
comment on column settled.rejects.decision is 'number of the shard''s decision that accepted, requeued or refused it; null: open';

-- What stops a log: kept for people, by the shard's owner, and changes nothing. A row whose offset the log has passed says
-- nothing any more.
create table if not exists settled.waiting (
    shard        integer not null,
    topic        text not null,
    kafka_offset bigint not null,
    schema_id    bigint not null,
    since        timestamptz not null default now(),
    answer       text not null,
    noted_at     timestamptz not null default now(),
    primary key (shard, topic)
) with (fillfactor = 50);
comment on table settled.waiting is 'the record before which a log waits, as its writer''s schema cannot be had; since: that the log waits for this schema';

create table if not exists settled.requests (
    id           bigint generated always as identity primary key,
    shard        integer not null,
    kind         text not null check (kind in ('ACCEPT', 'REQUEUE', 'PASS', 'REFUSE')),
    topic        text not null,
    operator     text not null,
    requested_at timestamptz not null,
    state        text not null check (state in ('SENDING', 'WAITING', 'DONE', 'REFUSED')),
    decision     bigint,
    answer       text
);
create index if not exists requests_waiting on settled.requests (shard, id) where state = 'WAITING';
comment on table settled.requests is 'what operators ask for: SENDING (a requeue under way) -> WAITING (for the shard''s owner) -> DONE (a decision) or REFUSED';
comment on column settled.requests.operator is 'session_user of whoever asked, percent-encoded; recorded by the database';

create table if not exists settled.request_records (
    request       bigint not null references settled.requests,
    topic         text not null,
    shard         integer not null,
    kafka_offset  bigint not null,
    subject       text not null check (subject in ('REJECT', 'PASS', 'REFUSE')),
    stands        boolean not null default true,
    new_partition integer,
    new_offset    bigint,
    primary key (request, kafka_offset)
);
-- One that stands for each record; those about a record that waits are of another kind than those about a reject.
create unique index if not exists request_records_once on settled.request_records (topic, shard, kafka_offset, subject)
    where stands;
comment on table settled.request_records is 'the records that a request is about, all of one partition of a topic';
comment on column settled.request_records.stands is 'false: the request was refused, and another one may be made';
comment on column settled.request_records.new_offset is 'of a requeue: where the record was sent; null: not yet';

create table if not exists settled.decisions (
    shard        integer not null,
    number       bigint not null,
    operator     text not null,
    kind         text not null check (kind in ('ACCEPT', 'REQUEUE', 'PASS', 'REFUSE')),
    content      text not null,
    topic        text not null,
    as_of        timestamptz not null,
    business_day date not null,
    calls_at     bigint not null,
    purchases_at bigint not null,
    credits_at   bigint not null,
    request      bigint not null unique references settled.requests,
    decided_at   timestamptz not null,
    primary key (shard, number)
);
comment on column settled.decisions.content is 'TOPIC COUNT SHA256: how many records, and the digest of their coordinates; settled.request_records names them';
comment on column settled.decisions.business_day is 'open when it was applied; its close names the decision';
comment on column settled.decisions.calls_at is 'position of the log when the decision was applied; so are the next two';

-- Who asks is who is logged in, whatever role they have taken: nobody asks in another's name. Bytes that are unreserved
-- in RFC 3986 stay as they are, so the name has no blanks.
create or replace function settled.percent_encoded(name text) returns text language sql immutable strict as $$
    select coalesce(string_agg(case when chr(byte) ~ '[A-Za-z0-9._~-]' and byte < 128 then chr(byte)
                                    else '%' || upper(lpad(to_hex(byte), 2, '0')) end, '' order by i), '')
      from (select i, get_byte(convert_to(name, 'UTF8'), i) as byte
              from generate_series(0, octet_length(convert_to(name, 'UTF8')) - 1) as i) as bytes
$$;
create or replace function settled.name_operator() returns trigger language plpgsql as $$
begin
    new.operator := case tg_op when 'INSERT' then settled.percent_encoded(session_user) else old.operator end;
    return new;
end $$;
drop trigger if exists name_operator on settled.requests;
create trigger name_operator before insert or update on settled.requests
    for each row execute function settled.name_operator();

-- Why a decision about these records cannot be asked for, of the first record for which it cannot; null: it can. The
-- request that stands about exactly these records already is no trouble: standing.
create or replace function settled.trouble_with(asked_kind text, asked_topic text, asked_shard integer, offsets bigint[],
                                                patience_ms bigint, out standing bigint, out trouble text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    earlier record;
begin
    select q.id, q.kind, q.state, r.kafka_offset into earlier
      from settled.request_records r join settled.requests q on q.id = r.request
     where r.stands and r.topic = asked_topic and r.shard = asked_shard and r.kafka_offset = any (offsets)
       and r.subject = case when asked_kind in ('PASS', 'REFUSE') then asked_kind else 'REJECT' end
     order by r.kafka_offset limit 1;
    if earlier.id is not null then
        if earlier.kind = asked_kind and offsets = (select array_agg(kafka_offset order by kafka_offset)
                                                    from settled.request_records where request = earlier.id) then
            standing := earlier.id;
            return;
        end if;
        trouble := format('%s/%s/%s: %s was asked for already (request %s, %s)', asked_topic, asked_shard,
                          earlier.kafka_offset, earlier.kind, earlier.id, earlier.state);
        return;
    end if;
    if asked_kind in ('ACCEPT', 'REQUEUE') then
        select format('%s/%s/%s %s: see settled rejects list', asked_topic, asked_shard, o,
                      case when r.topic is null then 'is not among the rejects' else 'was decided before' end)
          into trouble
          from unnest(offsets) as o left join settled.rejects r
            on r.topic = asked_topic and r.partition = asked_shard and r.kafka_offset = o
         where r.topic is null or r.decision is not null order by o limit 1;
    elsif asked_kind = 'REFUSE' then
        -- It may be refused when its schema could not be had for long enough: until then it may come.
        select case when w.topic is null then
                    format('%s/%s/%s is not waiting for its schema: settled rejects list shows what waits',
                           asked_topic, asked_shard, o)
               else format('%s/%s/%s waits for the schema of id %s since %s s; it may be refused after '
                           'schemas.patience, %s s: mend the registry, or come again', asked_topic, asked_shard, o,
                           w.schema_id, extract(epoch from now() - w.since)::bigint, patience_ms / 1000) end
          into trouble
          from unnest(offsets) as o left join (settled.waiting w join settled.shard_logs l
                                               on l.shard = w.shard and l.topic = w.topic)
            on w.topic = asked_topic and w.shard = asked_shard and w.kafka_offset = o and w.kafka_offset >= l.next_offset
         where w.topic is null or extract(epoch from now() - w.since) * 1000 < patience_ms order by o limit 1;
    end if;
end $$;

-- Records the request about all of these records, or says why it cannot. The same request, made again, is the one that
-- stands. Only those who ask wait for each other here, never the owner of a shard.
create or replace function settled.ask(asked_kind text, asked_topic text, asked_shard integer, offsets bigint[],
                                       asked_at timestamptz, patience_ms bigint,
                                       out request bigint, out state text, out made boolean, out trouble text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if offsets is null or cardinality(offsets) = 0 or array_position(offsets, null) is not null
       or offsets <> (select array_agg(distinct o order by o) from unnest(offsets) as o) then
        raise exception 'the offsets of a request rise, and there is one at least' using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock('settled.requests'::regclass::oid::bigint);
    select t.standing, t.trouble into request, trouble
      from settled.trouble_with(asked_kind, asked_topic, asked_shard, offsets, patience_ms) as t;
    made := request is null and trouble is null;
    if made then
        -- The remainder of a request's number tells in which database it stands.
        insert into settled.requests as q (id, shard, kind, topic, operator, requested_at, state)
        overriding system value
        select nextval('settled.requests_id_seq') * d.databases + d.database, asked_shard, asked_kind, asked_topic, '',
               asked_at, case asked_kind when 'REQUEUE' then 'SENDING' else 'WAITING' end
          from settled.deployment d
        returning q.id into request;
        insert into settled.request_records (request, topic, shard, kafka_offset, subject)
        select ask.request, asked_topic, asked_shard, o,
               case when asked_kind in ('PASS', 'REFUSE') then asked_kind else 'REJECT' end
          from unnest(offsets) as o;
    end if;
    state := (select q.state from settled.requests q where q.id = ask.request);
end $$;

-- A requeued record is in the log now. The shard's owner looks at the request when all of its records are. False: the
-- request is not being sent, or this record of it was sent before.
create or replace function settled.record_sent(sent_request bigint, sent_offset bigint, to_partition integer,
                                               to_offset bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    sending boolean;
begin
    select q.state = 'SENDING' into sending from settled.requests q where q.id = sent_request for update;
    if not coalesce(sending, false) then
        return false;
    end if;
    update settled.request_records r set new_partition = to_partition, new_offset = to_offset
     where r.request = sent_request and r.kafka_offset = sent_offset and r.new_offset is null;
    if not found then
        return false;
    end if;
    update settled.requests q set state = 'WAITING'
     where q.id = sent_request and not exists (select from settled.request_records r
                                                where r.request = sent_request and r.new_offset is null);
    return true;
end $$;

-- A record of a requeue under way cannot be sent any more: the request goes on without it, and is refused where it was
-- about no other.
create or replace function settled.record_lost(sent_request bigint, lost_offset bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from settled.requests q where q.id = sent_request and q.state = 'SENDING' for update;
    if not found then
        return;
    end if;
    update settled.request_records r set stands = false
     where r.request = sent_request and r.kafka_offset = lost_offset and r.new_offset is null
       and not exists (select from settled.request_records o where o.request = sent_request and o.kafka_offset <> lost_offset);
    if found then
        update settled.requests q set state = 'REFUSED', answer = 'its record cannot be sent any more'
         where q.id = sent_request;
        return;
    end if;
    delete from settled.request_records r
     where r.request = sent_request and r.kafka_offset = lost_offset and r.new_offset is null;
    update settled.requests q set state = 'WAITING'
     where q.id = sent_request and not exists (select from settled.request_records r
                                                where r.request = sent_request and r.new_offset is null);
end $$;

-- ---- outbox ----

create table if not exists settled.outbox (
    shard      integer not null,
    sequence   bigint not null,
    output     smallint not null check (output between 0 and 5),
    key        bytea,
    ce_id      text not null,
    ce_time_ms bigint not null,
    body       bytea not null,
    hash       bytea not null check (octet_length(hash) = 32),
    business_day date not null,
    primary key (shard, sequence, business_day)
) partition by range (business_day);
comment on column settled.outbox.output is '0 settlements, 1 account-status, 2 day-closes, 3 rejects, 4 account-notices, 5 account-statements';
comment on column settled.outbox.hash is 'chains the rows of a shard: over the previous hash and this row';

-- When what was published. A mark in place of a time in each row spares rewriting the outbox.
create table if not exists settled.relay_marks (
    shard        integer not null,
    published_at timestamptz not null,
    sequence     bigint not null,
    primary key (shard, published_at)
);
comment on table settled.relay_marks is 'rows up to sequence were published at or before published_at; the partitions of the outbox go 8 days later';

-- ---- partitions ----

-- What grows with time is divided by the business day that was open when the row was written: by months, and the outbox by
-- days, as it is kept for days only. So a step writes into one month and one day, whatever the times in its records say.

-- Months whose rows have left the tables, by `settled retire`.
create table if not exists settled.retired_months (
    month       date primary key check (extract(day from month) = 1),
    retired_at  timestamptz not null default now(),
    retired_by  text not null default session_user,
    archive     text,
    archived_at timestamptz,
    check ((archive is null) = (archived_at is null))
);
comment on table settled.retired_months is 'months without rows in the partitioned tables; there is none after the last of them that has any before it';
comment on column settled.retired_months.archive is 'the manifest; null: the rows still stand in detached tables, TABLE_YYYY_MM';

-- Each partition that rows of [from_day, to_day] need.
create or replace function settled.partitions_of(from_day date, to_day date,
                                                 out parent text, out partition text, out low date, out high date)
    returns setof record language sql immutable as $$
    select p, p || to_char(m, '_YYYY_MM'), m::date, (m + interval '1 month')::date
      from unnest(array['settlements', 'settlement_lines', 'status_changes', 'credits', 'rejects', 'notices',
                        'month_statements', 'month_statement_lines']) as p,
           generate_series(date_trunc('month', from_day::timestamp), to_day::timestamp, interval '1 month') as m
    union all
    select 'outbox', 'outbox' || to_char(d, '_YYYY_MM_DD'), d::date, d::date + 1
      from generate_series(from_day::timestamp, to_day::timestamp, interval '1 day') as d
$$;

-- A partition is written to by its own name, too: whoever may do something with the table may do it with the partition.
create or replace procedure settled.copy_rights(parent regclass, partition regclass) language plpgsql as $$
declare
    right_of record;
begin
    for right_of in select grantee::regrole as role, privilege_type as privilege from pg_catalog.pg_class,
                    lateral pg_catalog.aclexplode(relacl) where oid = parent and grantee not in (0, relowner)
    loop
        execute format('grant %s on %s to %s', right_of.privilege, partition, right_of.role);
    end loop;
end $$;

-- The day, or the first day of the month, of a partition of this table; null: it is none.
create or replace function settled.partition_begin(partition regclass, of_parent regclass, parent regclass) returns date
language sql stable as $$
    select case when of_parent <> parent then null
                when parent = 'settled.outbox'::regclass then to_date(right(partition::text, 10), 'YYYY_MM_DD')
                else to_date(right(partition::text, 7), 'YYYY_MM') end
$$;

-- Makes what is missing of the partitions for these days. A table is made first and then attached: that makes no writer
-- and no reader wait, where `create table … partition of` waits for them all.
create or replace function settled.make_partitions(from_day date, to_day date) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    missing record;
begin
    perform pg_advisory_xact_lock('settled.retired_months'::regclass::oid::bigint);
    if exists (select from settled.retired_months where month >= date_trunc('month', from_day::timestamp)::date) then
        raise exception 'rows of % cannot be written: its month is retired', from_day
              using errcode = 'object_not_in_prerequisite_state';
    end if;
    for missing in select * from settled.partitions_of(from_day, to_day) where to_regclass('settled.' || partition) is null
    loop
        execute format('create table settled.%I (like settled.%I including all)', missing.partition, missing.parent);
        execute format('alter table settled.%I attach partition settled.%I for values from (%L) to (%L)',
                       missing.parent, missing.partition, missing.low, missing.high);
        call settled.copy_rights(('settled.' || missing.parent)::regclass, ('settled.' || missing.partition)::regclass);
    end loop;
end $$;

-- Drops the partitions of the outbox of whose rows all were published before this instant. A shard's last published row
-- stays with its partition: its hash says that Kafka and PostgreSQL belong together. Where somebody holds the outbox for
-- longer than a moment, a close or a backup, nothing is dropped, and of many only a few: a minute later it is tried again.
create or replace function settled.drop_published(before timestamptz) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    old record;
    kept boolean;
    dropped integer := 0;
    oldest date := (select min(open_day) from settled.shards having count(open_day) = (select partitions from settled.deployment));
begin
    if not pg_try_advisory_xact_lock('settled.retired_months'::regclass::oid::bigint) then
        return 0;
    end if;
    for old in
        select inhrelid::regclass as name from pg_inherits
         where settled.partition_begin(inhrelid, inhparent, 'settled.outbox') < oldest
         order by settled.partition_begin(inhrelid, inhparent, 'settled.outbox')
    loop
        execute format('select exists (select from settled.shards s, lateral (select max(sequence) as last from %s o
                                        where o.shard = s.shard) as o
                         where o.last >= s.relayed or o.last > coalesce((select max(m.sequence) from settled.relay_marks m
                                        where m.shard = s.shard and m.published_at < $1), 0))', old.name)
           into kept using before;
        -- Later days were published later. And the outbox is locked for as long as this transaction lasts.
        exit when kept or dropped = 8;
        execute format('drop table %s', old.name);
        dropped := dropped + 1;
    end loop;
    return dropped;
exception
    when lock_not_available then
        return 0;
end $$;

-- The oldest business day in which a shard may have judged a record that came, by the brokers' time, at or after the 0:00
-- of this day. A day ends within 24 hours of its 24:00, unless it was held: records of any later time were judged in it then.
create or replace function settled.judged_from(of_shard integer, since date) returns date language sql stable as $$
    select least(since - 1, (select min(business_day) from settled.day_cutoffs
                              where shard = of_shard and cut_by = 'RELEASE'))
$$;

-- The day in which a shard judged the record at this offset of a log: a later one than each day that ends at or before it.
create or replace function settled.judged_at(of_shard integer, of_topic text, at_offset bigint) returns date
language sql stable as $$
    select coalesce((select business_day + 1 from settled.day_cutoffs
                      where shard = of_shard and topic = of_topic and to_offset <= at_offset
                      order by business_day desc limit 1), '-infinity')
$$;

-- ---- retiring ----

-- The months before this day that have rows in the tables, by the names of their partitions.
create or replace function settled.attached_months(before date) returns setof date language sql stable as $$
    select distinct settled.partition_begin(inhrelid, inhparent, parent) as month
      from pg_catalog.pg_inherits, unnest(array['settled.settlements', 'settled.settlement_lines', 'settled.status_changes',
                                                'settled.credits', 'settled.rejects', 'settled.notices',
                                                'settled.month_statements', 'settled.month_statement_lines']::regclass[]) as parent
     where settled.partition_begin(inhrelid, inhparent, parent) < before order by 1
$$;

-- The first day that a restart may still need a row of. Of a credit whose own day is the oldest that is known, the row
-- may stand in the business day before; and the clocks of brokers and of customers are not exact. So a month that ends with
-- the day before an open one is needed, too: its statements may not be written yet.
create or replace function settled.needed_from() returns date language sql stable as $$
    select min(s.open_day) - greatest(max(p.credit_days), max(p.late_days)) - 2
      from settled.shards s cross join settled.parameters p
$$;

-- How many shards have their rows in this database.
create or replace function settled.shards_here() returns integer language sql stable as $$
    select (partitions - database + databases - 1) / databases from settled.deployment
$$;

-- Why the rows of the days before this one cannot leave the tables yet; no row: they can.
create or replace function settled.retirement_troubles(before date) returns setof text language sql stable as $$
    select format('%s of %s shards have begun: start settled run, and come again when all have',
                  count(s.open_day), settled.shards_here())
      from settled.shards s having count(s.open_day) < settled.shards_here()
    union all
    select format('a restart needs what was recorded from %s on, as %s is open in a shard and ids of credits are known for '
                  '%s days (billing.credit_days): at most --before %s is possible now',
                  settled.needed_from(), (select min(open_day) from settled.shards),
                  (select max(credit_days) from settled.parameters), to_char(settled.needed_from(), 'YYYY-MM'))
     where settled.needed_from() < before
    union all
    select format('shard %s: a day that was held had judged credits of later days, and %s of them are still known: come '
                  'again when they are older than billing.credit_days', c.shard, count(*))
      from settled.credits c cross join settled.deployment d
     where c.business_day < before and c.credited_at >= settled.needed_from()::timestamp at time zone d.time_zone
     group by c.shard
    union all
    select format('shard %s: a restart reads the calls again from offset %s on, which was read on %s: come again when '
                  'later days are closed', s.shard, s.calls_from, settled.judged_at(s.shard, d.calls_topic, s.calls_from))
      from settled.shards s cross join settled.deployment d
     where settled.judged_at(s.shard, d.calls_topic, s.calls_from) < before
    union all
    select format('shard %s: published up to row %s, and these months reach up to %s: start settled run, or mend what '
                  'holds it up', s.shard, s.relayed, max(c.sequence))
      from settled.day_closes c join settled.shards s using (shard)
     where c.business_day < before and c.sequence > s.relayed group by s.shard, s.relayed
    union all
    select format('%s rejects of %s are undecided, the oldest of %s: settled rejects list --topic %s --partition %s shows '
                  'them; accept or requeue them', count(*), r.topic || '/' || r.partition, min(r.business_day), r.topic,
                  r.partition)
      from settled.rejects r where r.business_day < before and r.decision is null group by r.topic, r.partition
$$;

-- A month leaves the tables, in one transaction: all of its partitions, or none.
create or replace function settled.detach_month(old date) returns void language plpgsql as $$
declare
    part record;
begin
    perform pg_advisory_xact_lock('settled.retired_months'::regclass::oid::bigint);
    for part in
        select p.parent, p.partition from settled.partitions_of(old, old) as p
          join pg_inherits i on i.inhrelid = to_regclass('settled.' || p.partition)
         where p.parent <> 'outbox'
    loop
        execute format('alter table settled.%I detach partition settled.%I', part.parent, part.partition);
    end loop;
    insert into settled.retired_months (month) values (old);
end $$;
