-- An account's ledger in the order in which the fold applied it: credits as they were received, each settlement at the
-- 24:00 of its day.
create or replace view settled.account_statement as
    select account_id, position, received_at as at, kind, credit_id as reference, amount, balance
      from settled.credits
    union all
    select s.account_id, s.position, (s.business_day + 1)::timestamp at time zone d.time_zone, 'SETTLEMENT',
           s.settlement_id, -s.amount, s.closing_balance
      from settled.settlements s cross join settled.deployment d;
comment on view settled.account_statement is
    'amount is signed and balance is the one after it; reference is the credit_id or the settlement_id';
