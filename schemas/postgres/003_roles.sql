-- Five roles, without login: grant them to the users that log in. They belong to the cluster, not to this database, so
-- a user who may not create them leaves the rest to a later run: `settled migrate` calls this procedure at its end,
-- every time, and passes its warnings on.
--
--   settled_owner     owns the schema; runs migrations, and retires months
--   settled_writer    the daemon: appends, updates only what is state, and has partitions made and the outbox's dropped by
--                     functions of the owner
--   settled_operator  may ask for decisions about rejects, under the name of its login, and do nothing else
--   settled_auditor   reads everything
--   settled_console   reads what account holders may be shown

create or replace procedure settled.create_roles() language plpgsql as $$
declare
    missing text;
begin
    for missing in
        select name from unnest(array['settled_owner', 'settled_writer', 'settled_operator', 'settled_auditor', 'settled_console']) as name
         where to_regrole(name) is null
    loop
        begin
            execute format('create role %I nologin', missing);
        exception
            when insufficient_privilege then
                raise warning 'role % is missing and % may not create it: nothing is granted to it; run "create role % nologin" as an administrator, then "settled migrate" again',
                    missing, current_user, missing;
            when duplicate_object or unique_violation then
                null; -- another database of the cluster is being migrated
        end;
    end loop;
end $$;

create or replace procedure settled.give_to_owner() language plpgsql as $$
declare
    thing record;
begin
    for thing in
        select format('alter schema %I owner to settled_owner', nspname) as command from pg_namespace
         where nspname = 'settled' and nspowner <> to_regrole('settled_owner')
        union all
        select format('alter %s %s owner to settled_owner', case relkind when 'v' then 'view' else 'table' end, oid::regclass)
          from pg_class
         where relnamespace = 'settled'::regnamespace and relkind in ('r', 'p', 'v') and relowner <> to_regrole('settled_owner')
        union all
        select format('alter routine %s owner to settled_owner', oid::regprocedure) from pg_proc
         where pronamespace = 'settled'::regnamespace and proowner <> to_regrole('settled_owner')
    loop
        execute thing.command;
    end loop;
exception
    when insufficient_privilege then
        raise warning 'the schema stays with its present owner, as % may not give it to settled_owner (%): grant settled_owner to %, and create on the database to settled_owner, then run "settled migrate" again',
            current_user, sqlerrm, current_user;
end $$;

create or replace procedure settled.grant_rights() language plpgsql as $$
declare
    entry record;
begin
    -- They act with the rights of the schema's owner, and by default everybody may call a function.
    revoke execute on function settled.trouble_with(text, text, integer, bigint[], bigint),
        settled.ask(text, text, integer, bigint[], timestamptz, bigint),
        settled.record_sent(bigint, bigint, integer, bigint), settled.record_lost(bigint, bigint),
        settled.make_partitions(date, date), settled.drop_published(timestamptz) from public;
    for entry in
        select role, command from (values
            ('settled_writer', 'usage on schema settled'),
            ('settled_writer', 'select on all tables in schema settled'),
            ('settled_writer', 'insert on settled.deployment, settled.price_books, settled.parameters, settled.writer_schemas, settled.shards, settled.shard_logs, settled.accounts, settled.credits, settled.packages, settled.settlements, settled.settlement_lines, settled.status_changes, settled.notices, settled.month_statements, settled.month_statement_lines, settled.day_closes, settled.day_cutoffs, settled.holds, settled.rejects, settled.decisions, settled.waiting, settled.outbox, settled.relay_marks'),
            ('settled_writer', 'update on settled.shards, settled.shard_logs, settled.accounts, settled.packages, settled.waiting'),
            ('settled_writer', 'update (state, decision, answer) on settled.requests'),
            ('settled_writer', 'update (stands) on settled.request_records'),
            ('settled_writer', 'update (decision) on settled.rejects'),
            ('settled_writer', 'update (cluster_id) on settled.deployment'), -- also lets it be locked
            ('settled_writer', 'delete on settled.relay_marks'),
            ('settled_writer', 'execute on function settled.make_partitions(date, date), settled.drop_published(timestamptz)'),
            ('settled_operator', 'usage on schema settled'),
            ('settled_operator', 'select on settled.deployment, settled.price_books, settled.parameters, settled.schema_migrations, settled.shard_logs, settled.rejects, settled.waiting, settled.requests, settled.request_records, settled.decisions'),
            ('settled_operator', 'execute on function settled.trouble_with(text, text, integer, bigint[], bigint), settled.ask(text, text, integer, bigint[], timestamptz, bigint), settled.record_sent(bigint, bigint, integer, bigint), settled.record_lost(bigint, bigint)'),
            ('settled_auditor', 'usage on schema settled'),
            ('settled_auditor', 'select on all tables in schema settled'),
            ('settled_console', 'usage on schema settled'),
            ('settled_console', 'select on settled.accounts, settled.credits, settled.packages, settled.settlements, settled.settlement_lines, settled.status_changes, settled.notices, settled.month_statements, settled.month_statement_lines, settled.day_closes, settled.day_cutoffs, settled.holds, settled.price_books, settled.parameters, settled.shards, settled.shard_logs, settled.account_statement, settled.schema_migrations, settled.retired_months'),
            ('settled_console', 'select (first_day, timestamps, partitioner, framing, partitions, time_zone, consumer_group, cluster_id, calls_topic, purchases_topic, credits_topic, database, databases, recorded_at) on settled.deployment')
        ) as grants (role, command)
        where to_regrole(role) is not null
    loop
        execute format('grant %s to %I', entry.command, entry.role);
    end loop;
    for entry in select inhparent::regclass as parent, inhrelid::regclass as partition
                   from pg_inherits join pg_class on oid = inhrelid
                  where relnamespace = 'settled'::regnamespace and relkind = 'r'
    loop
        call settled.copy_rights(entry.parent, entry.partition);
    end loop;
    -- Large updates go through a temporary table; by default everybody may make one.
    if to_regrole('settled_writer') is not null
       and not has_database_privilege('settled_writer', current_database(), 'temporary') then
        execute format('grant temporary on database %I to settled_writer', current_database());
    end if;
end $$;

create or replace procedure settled.apply_privileges() language plpgsql as $$
begin
    if not pg_has_role((select nspowner from pg_namespace where nspname = 'settled'), 'usage') then
        raise warning '% is not the owner of the schema: its privileges are left as they are', current_user;
        return;
    end if;
    call settled.create_roles();
    if to_regrole('settled_owner') is not null then
        call settled.give_to_owner();
    end if;
    call settled.grant_rights();
end $$;
