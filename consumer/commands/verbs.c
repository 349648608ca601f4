#include "consumer/commands/verbs.h"

#include "consumer/commands/commands.h"
#include "consumer/core/reject_reason.h"
#include "consumer/decisions/decisions.h"
#include "consumer/views/views.h"
#include "pricing/service.h"

// Of the verbs that print for people.
#define LANGUAGE_OPTION                                                                            \
    {                                                                                              \
        "lang", 0, "zh|en",                                                                        \
            "language of what is printed for people (that of the environment's locale)"            \
    }

static const struct option_spec help_options[] = {
    {"man", 0, NULL, "print the manual page (roff)"},
    {"bash-completion", 0, NULL, "print the completion script for bash"},
    {"metrics", 0, NULL, "print the reference of the metrics (Markdown)"},
    {"config-example", 0, NULL, "print a configuration with every key, its default and its help"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec quote_options[] = {
    {"service", 0, "SERVICE",
     "what is called: the service's name in the price book" SERVICE_ROWS(SERVICE_OR)},
    {"leads", 0, "N",
     "leads of one call; for calls of different sizes write several: --leads 8000 12000"},
    {"calls", 0, "N",
     "calls in a day; with a service billed by lead, each of them has --leads leads (1)"},
    {"account", 0, "ACCOUNT",
     "with a configuration, after what this account's packages still hold, as of its last "
     "settlement"},
    {"day", 0, "DATE",
     "with a configuration, by the price book that is recorded for this day; a book that is not in "
     "force on it is refused"},
    {"book", 0, "FILE",
     "price book (that of the configuration, or else the one built into this program)"},
    {"format", 0, "table|json", "how to print it; json has amounts in fen (table)"},
    LANGUAGE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct option_spec topics_options[] = {
    {"file", 0, "FILE",
     "declaration of the topics instead of the one in the binary (deploy/topics.yaml)"},
    {"partitions", 0, "N", "partitions of each topic, instead of the declaration's"},
    {"replication", 0, "N",
     "replicas of new topics, instead of the declaration's; -1 is the cluster's default"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec check_options[] = {
    {"format", 0, "table|json", "how to print the findings (table)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec parameters_options[] = {
    {"dry-run", 0, NULL, "print what would change, and record nothing"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec books_options[] = {
    {"format", 0, "table|json", "how to print them (table)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec rejects_options[] = {
    {"topic", 0, "TOPIC", "only of this input topic"},
    {"partition", 0, "N", "only of this partition"},
    {"reason", 0, REJECT_CHOICES, "only with this reason"},
    {"account", 0, "ID", "only of this account"},
    {"from-day", 0, "DATE", "only what arrived on or after this day"},
    {"to-day", 0, "DATE", "only what arrived on or before this day"},
    {"all", 0, NULL, "list: also those that are decided; requeue and accept: every open one"},
    {"limit", 0, "N", "at most this many; with --group-by so many groups, the largest first"},
    {"group-by", 0, "reason|schema|account|topic",
     "list: only how many there are of each, with the first and the last one"},
    {"format", 0, "table|json|csv", "how to list (table)"},
    {"dry-run", 0, NULL, "print what would be decided, and record nothing"},
    {"wait", 0, "SECONDS", "wait this long for the owners of the shards to answer (0)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec adjust_options[] = {
    {"amount", 0, "YUAN", "by how much, with up to two decimals; negative takes from the account"},
    {"reason", 0, "TEXT", "why; statements show it"},
    {"reference", 0, "TEXT", "a number in another system, such as a debit note's"},
    {"date", 0, "DATE", "its date, at 00:00 (today)"},
    {"id", 0, "ID", "its credit_id (made of date, account, amount, reason and reference)"},
    {"new-account", 0, NULL, "begin an account that is not known yet"},
    {"dry-run", 0, NULL, "check and print it, and send nothing"},
    {"wait", 0, "SECONDS", "wait this long for the owner of the shard to judge it (0)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec explain_options[] = {
    {"format", 0, "table|json", "how to print it; json has amounts in fen (table)"},
    LANGUAGE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct option_spec statement_options[] = {
    {"month", 0, "MONTH", "for example 2026-11 (the month of the day that is open)"},
    {"format", 0, "table|csv|json",
     "how to print it; csv has the ledger alone, csv and json have amounts in fen (table)"},
    LANGUAGE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct option_spec read_options[] = {
    {"account", 0, "ID", "only what is of this account, in its partition"},
    {"from", 0, "TIME",
     "only from the first record with this time on: a date, or as RFC 3339 has it (the beginning)"},
    {"partition", 0, "N", "only of this partition (all of them, one after the other)"},
    {"limit", 0, "N", "at most this many (all)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec audit_options[] = {
    {"from", 0, "DATE", "first day to compare (the deployment's first day)"},
    {"to", 0, "DATE",
     "last day to compare; it must be settled (all that is committed, the open day included)"},
    {"account", 0, "ID", "compare only what concerns this account"},
    {"all", 0, NULL, "table: a line for each difference, not only the first ones of each kind"},
    {"format", 0, "table|json", "how to print what differs and the summary (table)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec retire_options[] = {
    {"before", 0, "MONTH", "the months before this one, for example 2025-03"},
    {"archive", 0, "DIRECTORY",
     "write their rows to files in this existing directory, and drop the tables"},
    {"dry-run", 0, NULL, "print which months would go, or why they cannot, and change nothing"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec run_options[] = {
    {"drain", 0, NULL, "read to where the topics end now, settle what is due, and end"},
    {"clock", 0, "INSTANT",
     "stop the clock at this instant (RFC 3339), for example 2026-11-03T00:10:00+08:00"},
    {"speed", 0, "N",
     "with --clock: let the clock run on from there, N times as fast (it stands still)"},
    {NULL, 0, NULL, NULL},
};

static const struct option_spec generate_options[] = {
    {"seed", 0, "N", "the same seed and options give the same records (1)"},
    {"accounts", 0, "N", "accounts (100)"},
    {"calls-per-day", 0, "N", "call records a day (10000)"},
    {"days", 0, "N", "simulated days; needs billing.timestamps: create (1)"},
    {"from-day", 0, "DATE", "first simulated day (billing.first_day)"},
    {"duplicates", 0, "PERCENT", "share of the calls that are sent again (1)"},
    {"late", 0, "PERCENT",
     "share of the calls that belong to an earlier day, within the limit (1)"},
    {"broken", 0, "PERCENT",
     "share of the calls that must be rejected, for every reason in turn (0)"},
    {"purchases", 0, "N", "packages bought a day (a tenth of the accounts)"},
    {"credits", 0, "N", "top-ups and adjustments a day (half of the accounts)"},
    {"rate", 0, "N", "records a second; 0: as fast as possible (0)"},
    {"format", 0, "table|json", "how to print the totals; json has amounts in fen (table)"},
    {NULL, 0, NULL, NULL},
};

// Order of the overview. A verb is listed once its cmd_ function exists.
const struct verb verbs[] = {
    {.name = "run",
     .run = cmd_run,
     .summary = "bill: read the topics, settle the days, publish what was settled",
     .about = "The first run records billing parameters and price book; after that it goes by what "
              "is recorded, and says "
              "where the configuration differs. Runs until SIGTERM; SIGHUP reads log level and "
              "format again. With --drain it ends by "
              "itself: 0 when every "
              "shard has settled and published the days that are due, 75 when one is held or owned "
              "elsewhere.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .options = run_options},
    {.name = "quote",
     .run = cmd_quote,
     .summary = "calculate what calls or leads cost with each way of paying",
     .about =
         "Compares paying after use with buying a package once, for each package on sale (what "
         "it does not cover is paid after use), with buying the custom package, and with the "
         "cheapest of all combinations of packages, where that costs less. Marks the cheapest "
         "way: buying more can cost less. Calls draw on a package one after the "
         "other, and each call is priced by its own number of leads. What an account holds "
         "already is drawn first, and not paid for again.",
     .config = TAKES_CONFIG,
     .operands = "[N...]",
     .max_operands = ARGS_OPERANDS_MAX,
     .options = quote_options},
    {.name = "topics",
     .run = cmd_topics,
     .summary = "create the topics that are missing, and correct the settings of the others",
     .about = "What is already as declared is left alone, so it can run at every deployment. "
              "Partition counts never change: if one differs from the declaration, nothing is "
              "changed and it says so.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .actions = "apply",
     .min_operands = 1,
     .max_operands = 1,
     .options = topics_options},
    {.name = "check",
     .run = cmd_check,
     .summary = "name everything that is wrong with configuration, topics, schemas and database",
     .about = "Looks at the configuration, the price book, the database and what is recorded in "
              "it, the schema registry, the topics and their settings, and the clock. Each "
              "finding names the remedy. 'settled run' refuses to start when there is an error; a "
              "warning is only a risk.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .options = check_options},
    {.name = "migrate",
     .run = cmd_migrate,
     .summary = "bring the database's schema up to this version",
     .about = "Applies the migrations that are missing, under a lock, and grants the roles what "
              "they need. It can run at "
              "every deployment.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED},
    {.name = "parameters",
     .run = cmd_parameters,
     .summary = "record changed billing parameters, or a new price book, for days to come",
     .about =
         "Compares the section billing, and the price book, with what is recorded, prints what "
         "changes and from which "
         "day, which is the first that no shard has opened, and records it. Running processes "
         "take it over by "
         "themselves. What never changes is refused. Nothing else records changes: a process "
         "that is started with an old file goes by what is recorded.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .actions = "apply",
     .min_operands = 1,
     .max_operands = 1,
     .options = parameters_options},
    {.name = "books",
     .run = cmd_books,
     .summary = "list the recorded price books, and who recorded them",
     .about =
         "Prints each version with its digest, the days on which it is in force, who recorded "
         "it and when, and whether the configured file is one of them. Ends with 78 when a row "
         "is not what its digest says.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .actions = "list",
     .min_operands = 1,
     .max_operands = 1,
     .options = books_options},
    {.name = "explain",
     .run = cmd_explain,
     .summary = "show why an account's settlement is what it is, down to its calls",
     .about = "Reads the calls of the day again from Kafka, bills them again as they were billed "
              "then, and prints every line with the calls behind it. If the result differs from "
              "the recorded settlement, it names the first difference and prints nothing else.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .operands = "ACCOUNT DAY",
     .min_operands = 2,
     .max_operands = 2,
     .options = explain_options},
    {.name = "statement",
     .run = cmd_statement,
     .summary = "show what an account holder is shown of a month",
     .about =
         "Prints what was paid in and what was settled in the month, in the order in which it "
         "changed the balance, opening and closing balance, what was used with its prices, and "
         "the packages that could be drawn, with what is left of them now. It reads what is "
         "recorded. A month that is over has the sums of its recorded statement; of one that is "
         "not, it says that it is provisional, and what is not settled yet is not in it.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .operands = "ACCOUNT",
     .min_operands = 1,
     .max_operands = 1,
     .options = statement_options},
    {.name = "read",
     .run = cmd_read,
     .summary = "print the records of a topic, decoded, as lines of JSON",
     .about =
         "Takes the name of any topic of the deployment, inputs and outputs, and prints what a "
         "read_committed consumer sees, up to where the topic ends now: partition, offset, "
         "timestamp, key, headers, the number of the writer's schema, and the value. Dates and "
         "times are texts, in the zone of the price book; money is in fen; bytes are in "
         "hexadecimal. A record that cannot be decoded has the value null and says why in "
         "fault and detail. It joins no group, and commits nothing.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .operands = "TOPIC",
     .min_operands = 1,
     .max_operands = 1,
     .options = read_options},
    {.name = "audit",
     .run = cmd_audit,
     .summary = "compute everything again from the topics, and compare the tables and output "
                "topics with it",
     .about =
         "Reads the three topics from the recorded offsets, with the recorded cutoffs, "
         "verdicts, decisions and parameters, settles each day again, and says "
         "what differs: first what is the cause of many differences (another price book, "
         "records that are gone), then how many there are of each table and field, with the "
         "first ones, their accounts and days. For each output topic and shard it "
         "says how many rows are published, which are lost, repeated or out of order, and "
         "which records are foreign, with topic/partition@offset, number, account and id. A "
         "recorded row that is still to be published is pending. With --from or --to it reads "
         "the messages of these days and of the days beside them only. It writes nothing, needs "
         "only the role settled_auditor, and runs beside the daemon. Ends with 0 when all is "
         "equal, 1 when something differs, 2 when it could not look.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .options = audit_options},
    {.name = "repair",
     .run = cmd_repair,
     .summary = "restore what the database lost, and publish again what the output topics lost",
     .about = "For 'Kafka holds rows up to sequence N, PostgreSQL only up to M', with all "
              "processes of the group stopped. Computes the rows again from the inputs, beginning "
              "where the database stands, in the order in which the outputs were published. "
              "Every row must equal the published one, byte by byte, and the chain hash of the "
              "last row must be that of the published position. Rows are written only when that "
              "is proven for all shards; otherwise it says what differs, and changes nothing but "
              "the shards' epochs. Then it publishes again those published rows that the output "
              "topics have lost and settled.outbox still has (8 days): at the ends of their "
              "topics, so that subscribers read them behind later rows. It can be run again at "
              "any time.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED},
    {.name = "retire",
     .run = cmd_retire,
     .summary = "take old months out of the tables, and archive them",
     .about = "Detaches the partitions of settlements, their lines, status changes, credits and "
              "rejects of the months before MONTH, once nothing needs them any more: a restart "
              "(open days, late days, credit_days, the calls that are read again), publishing, or "
              "a decision about a reject. Otherwise it says what does and until when, ends with "
              "78, and changes nothing.\nThe detached tables stay, as settled.TABLE_YYYY_MM, and "
              "nothing reads them. With --archive their rows are written to "
              "DIRECTORY/YYYY-MM/TABLE.csv, with a manifest that has rows and SHA-256 of each "
              "file; the files are read again, and then the tables are dropped: also those that an "
              "earlier run has detached. Balances, packages, day closes and decisions stay.\nIt "
              "needs the role settled_owner. It may run beside the daemon, and waits for no lock "
              "longer than 0.3 s at a time. After an interruption the same command goes on where "
              "it stopped.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .options = retire_options},
    {.name = "schemas",
     .run = cmd_schemas,
     .summary = "register the schemas of all topics",
     .about = "Registers the texts that are part of this program under TOPIC-value, sets "
              "FULL_TRANSITIVE on the outputs, and prints the ids. A schema that is already "
              "registered keeps its id.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .actions = "register",
     .min_operands = 1,
     .max_operands = 1},
    {.name = "rejects",
     .run = cmd_rejects,
     .summary = "list what could not be billed, and decide about it",
     .about =
         "list prints the open rejects, or with --group-by how many there are of each kind. "
         "requeue sends the original record again, once, after its cause was mended: with the "
         "bytes, key and headers of the reject (where its topic has lost it, with the bytes and "
         "the key that the topic of rejects keeps), and with the "
         "headers settled_requeued_topic, _partition, _offset and _request. accept records "
         "that nobody will be billed for it. pass is for a record with an impossible "
         "timestamp, before which its log waits: it lets the record be judged. refuse is for a "
         "record whose schema could not be had for schemas.patience, before which its log "
         "waits, too: it becomes UNKNOWN_SCHEMA; list shows it as WAITING until then.\nOne request "
         "asks about all of the chosen records of a partition, or about none where one of them is "
         "no open reject. It is recorded under the name by which PostgreSQL knows you; the role "
         "settled_operator is enough. The process that owns the shard applies a decision, and the "
         "next day close names it, with a digest of the records' coordinates. Making the same "
         "decision again changes nothing.\nReasons:" REJECT_PARAGRAPHS,
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .actions = "list|requeue|accept|pass|refuse",
     .operands = "[TOPIC/PARTITION/OFFSET...]",
     .min_operands = 1,
     .max_operands = ARGS_OPERANDS_MAX,
     .options = rejects_options},
    {.name = "adjust",
     .run = cmd_adjust,
     .summary = "credit or debit an account by an adjustment",
     .about =
         "Sends an ADJUSTMENT to the topic of credits: a credit note, a debit note, an opening "
         "balance. It counts once the owner of the account's shard has judged it; a negative "
         "one suspends nobody before the next settlement.\nThe same command, run again, sends "
         "the same record, and one of them is booked: after a failure simply repeat it on the "
         "same date, or with the same --date. For a second equal adjustment of one date give "
         "an --id.\nIt needs Write on the topic of credits, and reads the tables by the role "
         "settled_auditor.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .operands = "ACCOUNT",
     .min_operands = 1,
     .max_operands = 1,
     .options = adjust_options},
    {.name = "generate",
     .run = cmd_generate,
     .summary = "send a seeded workload and print its totals",
     .about = "Sends calls, purchases and credits of made-up accounts to the three input topics, "
              "and prints what must become of them: calls and units to bill, duplicates, rejects "
              "by reason. With billing.timestamps: create the records are stamped with simulated "
              "times, so that a month is sent in seconds; with log-append their time is now. For "
              "tests, demonstrations and benchmarks: never point it at a deployment that bills.",
     .config = TAKES_CONFIG | CONFIG_REQUIRED,
     .options = generate_options},
    {.name = "version",
     .run = cmd_version,
     .summary = "print the version and those of the libraries"},
    {.name = "help",
     .run = cmd_help,
     .summary = "explain a verb",
     .operands = "[VERB]",
     .max_operands = 1,
     .options = help_options},
    {.name = NULL},
};
