// The verbs that show something to people and programs. Each returns the exit status.
#pragma once

struct args;

int cmd_quote(const struct args *args);
int cmd_explain(const struct args *args); // operands: ACCOUNT DAY
int cmd_statement(const struct args *args); // operand: ACCOUNT
int cmd_read(const struct args *args); // operand: TOPIC
