#include "consumer/cli/cli.h"
#include "consumer/commands/verbs.h"

int main(int argc, char **argv)
{
    return cli_main(verbs, argc, argv);
}
