#include "consumer/cli/cli.h"
#include "consumer/commands/verbs.h"

#include <signal.h>

int main(int argc, char **argv)
{
    // A file that may not grow any more is an error of whoever writes it, as a full disk is: it
    // must not end a daemon that only writes a snapshot.
    signal(SIGXFSZ, SIG_IGN);
    return cli_main(verbs, argc, argv);
}
