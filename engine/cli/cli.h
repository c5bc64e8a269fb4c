/* The command line: one file per verb, a shared option parser, librdkafka for everything that talks
 * to a server.
 *
 * Runs in its own short-lived process on an ordinary thread: it may allocate and block. Answers go
 * to stdout (text, or JSON with
 * --json), errors to stderr as one line "eagre VERB: what: why". Exit codes are enum cli_exit and
 * documented in README.md. */
#ifndef EAGRE_ENGINE_CLI_CLI_H
#define EAGRE_ENGINE_CLI_CLI_H

#include "engine/base/base.h"

#include <librdkafka/rdkafka.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* the operation was refused or failed */
    CLI_USAGE = 2,       /* the command line is wrong; nothing was done */
    CLI_UNREACHABLE = 3, /* no server answered in time */
    CLI_NOT_FOUND = 4,   /* no such topic or partition */
};

#define CLI_DEFAULT_SERVER "127.0.0.1:9092"
#define CLI_WORDS_MAX 64u

/* One option of a verb. A flag has no value. */
struct cli_option {
    const char *name;  /* without the dashes */
    const char *value; /* what --help shows for it, as in "N"; NULL: a flag */
    const char *help;
};

struct cli_given {
    const char *name;
    const char *value;
};

/* A parsed command line. Strings are borrowed from argv. */
struct cli_args {
    const char *verb;                 /* as typed, as in "topic create", for messages */
    const char *words[CLI_WORDS_MAX]; /* positional */
    uint32_t word_count;
    struct cli_given
        given[CLI_WORDS_MAX]; /* options in the order given; an option may come twice */
    uint32_t given_count;
    bool json;
    bool quiet; /* set by verbs that call others: no word on success */
    const char *server;
};

struct cli_verb {
    const char *name;  /* "produce", or "topic create" */
    const char *words; /* positional arguments for the usage line, as in "TOPIC" */
    uint32_t words_min;
    uint32_t words_max;
    const char *summary; /* one sentence */
    const struct cli_option
        *options; /* ends with a NULL name; --server, --json and --help are always there */
    int (*run)(const struct cli_args *args);
    bool is_local; /* talks to no server: no --server */
};

/* All verbs that talk to a server or look at the host; ends with a NULL name. */
extern const struct cli_verb cli_verbs[];

/* Finds the verb of argv[1..], parses the rest and runs it. Returns the exit code. */
int cli_main(int argc, char **argv);
/* Prints the usage of every verb. */
void cli_print_help(void);

/* Last value of an option, or fallback. */
const char *cli_text(const struct cli_args *args, const char *name, const char *fallback);
bool cli_flag(const struct cli_args *args, const char *name);
/* A whole number in [low, high]; on a bad value prints the reason and exits with CLI_USAGE. */
int64_t cli_number(
    const struct cli_args *args, const char *name, int64_t fallback, int64_t low, int64_t high);

#define CLI_BAR_COLUMNS 30u
#define CLI_BAR_TEXT (CLI_BAR_COLUMNS + 3)
/* A progress bar as text: "[####----]", or nothing when total is 0. */
void cli_bar(char ret_text[CLI_BAR_TEXT], uint64_t done, uint64_t total);

/* Prints "eagre VERB: text" to stderr and returns code. */
int cli_fail(const struct cli_args *args, enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with an exit code that fits a librdkafka error. */
int cli_fail_kafka(const struct cli_args *args,
                   rd_kafka_resp_err_t error,
                   const char *what,
                   const char *text);

/* rdkafka.c */
#define CLI_TIMEOUT_MS 10000
/* A client with bootstrap.servers and quiet logging; NULL (and a message) when a setting is
 * refused. conf is taken. */
rd_kafka_t *cli_client(const struct cli_args *args, rd_kafka_type_t type, rd_kafka_conf_t *conf);
/* A new configuration with the common settings. */
rd_kafka_conf_t *cli_conf(const struct cli_args *args);
/* Sets one key; prints and exits with CLI_USAGE when refused. */
void cli_conf_set(const struct cli_args *args,
                  rd_kafka_conf_t *conf,
                  const char *key,
                  const char *value);

/* Waits for the event of an admin request that is already queued. NULL: a message was printed,
 * *ret_status set. */
rd_kafka_event_t *
cli_wait(const struct cli_args *args, rd_kafka_queue_t *queue, const char *what, int *ret_status);
/* Options of an admin request; destroyed by the caller. */
rd_kafka_AdminOptions_t *cli_admin_options(rd_kafka_t *client, rd_kafka_admin_op_t operation);

/* What a verb holds that asks the server for several things in a row. Its handle is a consumer's: a
 * producer's would create the topics that it asks for. */
struct cli_command {
    const struct cli_args *args;
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    int status; /* exit code so far */
};
/* False: a message was printed, command->status is the exit code and nothing is to be ended. */
bool cli_command_begin(struct cli_command *command, const struct cli_args *args);
/* Gives everything back; returns the exit code. */
int cli_command_end(struct cli_command *command);
/* cli_wait() on the command's queue and status. */
rd_kafka_event_t *cli_command_wait(struct cli_command *command, const char *what);

int cli_topic_create(const struct cli_args *args);
int cli_topic_list(const struct cli_args *args);
int cli_topic_describe(const struct cli_args *args);
int cli_topic_delete(const struct cli_args *args);
int cli_topic_alter(const struct cli_args *args);
int cli_topic_trim(const struct cli_args *args);
int cli_group_list(const struct cli_args *args);
int cli_group_describe(const struct cli_args *args);
int cli_group_reset_offsets(const struct cli_args *args);
int cli_group_delete(const struct cli_args *args);
int cli_transaction_list(const struct cli_args *args);
int cli_transaction_describe(const struct cli_args *args);
int cli_transaction_abort(const struct cli_args *args);
int cli_produce(const struct cli_args *args);
int cli_consume(const struct cli_args *args);
int cli_doctor(const struct cli_args *args);
int cli_verify(const struct cli_args *args);
int cli_dump(const struct cli_args *args);
int cli_completion(const struct cli_args *args);
int cli_man(const struct cli_args *args);

#endif
