// The suspensions of accounts as status_changes has them: one statement for the restore of a shard,
// of a settled day of one account, and of an audit.
#pragma once

// A suspension is a change to SUSPENDED and the account's next change, which ended it. Columns:
// account_id, when it began, when it ended or null. `which` is a condition that selects
// suspensions: in it, `s` is the change that began one, and `r` is the change that ended it.
// `ended` is a further condition on `r`, " and …", that must hold if the change has ended the
// suspension already. The caller adds an order: suspensions of an account begin one after the
// other, so "order by 1, 2" is also the order of account_sequence.
#define SUSPENSIONS(which, ended)                                                                  \
    "select s.account_id, s.effective_at, r.effective_at from settled.status_changes s"            \
    " left join settled.status_changes r on r.account_id = s.account_id"                           \
    "   and r.account_sequence = s.account_sequence + 1" ended                                     \
    " where s.status = 'SUSPENDED' and " which
