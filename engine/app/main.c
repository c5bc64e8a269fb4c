/* eagre: one binary, many verbs. `serve` runs the engine; everything else is the command line
 * (engine/cli). */
#include "engine/app/serve.h"
#include "engine/cli/cli.h"

#include <stdio.h>
#include <string.h>

static int
help(void)
{
    printf("eagre " EAGRE_VERSION
           ": a streaming engine that keeps partitioned, replayable, durable logs.\n\n"
           "  eagre serve [--data DIR] [--kafka HOST:PORT] ...   run the server (eagre serve "
           "--help lists every setting)\n"
           "  eagre version                                      print the version\n"
           "  eagre help                                         print this\n\n");
    cli_print_help();
    return CLI_OK;
}

int
main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
        return help();
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("eagre " EAGRE_VERSION "\n");
        return CLI_OK;
    }
    if (strcmp(argv[1], "serve") == 0)
        return serve_main(argc - 2, argv + 2);
    return cli_main(argc, argv);
}
