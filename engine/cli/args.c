#include "engine/cli/cli.h"

#include "engine/config/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
cli_fail(const struct cli_args *args, enum cli_exit code, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "eagre %s: ", args->verb);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return (int)code;
}

const char *
cli_text(const struct cli_args *args, const char *name, const char *fallback)
{
    for (uint32_t i = args->given_count; i > 0; i--)
        if (strcmp(args->given[i - 1].name, name) == 0)
            return args->given[i - 1].value;
    return fallback;
}

bool
cli_flag(const struct cli_args *args, const char *name)
{
    return cli_text(args, name, NULL) != NULL;
}

int64_t
cli_number(
    const struct cli_args *args, const char *name, int64_t fallback, int64_t low, int64_t high)
{
    const char *text = cli_text(args, name, NULL);
    int64_t value;

    if (text == NULL)
        return fallback;
    if (!parse_i64(text, strlen(text), &value) || value < low || value > high)
        exit(cli_fail(args,
                      CLI_USAGE,
                      "--%s %s: must be a whole number in [%lld, %lld]",
                      name,
                      text,
                      (long long)low,
                      (long long)high));
    return value;
}

void
cli_bar(char ret_text[CLI_BAR_TEXT], uint64_t done, uint64_t total)
{
    uint64_t filled = total > 0 ? min_u64(CLI_BAR_COLUMNS, done * CLI_BAR_COLUMNS / total) : 0;

    if (total == 0) {
        ret_text[0] = '\0';
        return;
    }
    ret_text[0] = '[';
    memset(ret_text + 1, '-', CLI_BAR_COLUMNS);
    memset(ret_text + 1, '#', filled);
    ret_text[CLI_BAR_COLUMNS + 1] = ']';
    ret_text[CLI_BAR_COLUMNS + 2] = '\0';
}

static void
cli_print_verb(const struct cli_verb *verb, FILE *to)
{
    fprintf(to, "  eagre %s %s\n      %s\n", verb->name, verb->words, verb->summary);
    for (const struct cli_option *option = verb->options; option->name != NULL; option++) {
        char left[64];
        snprintf(left,
                 sizeof(left),
                 "--%s %s",
                 option->name,
                 option->value != NULL ? option->value : "");
        fprintf(to, "      %-34s %s\n", left, option->help);
    }
}

void
cli_print_help(void)
{
    printf("Verbs that talk to a server take --server HOST:PORT (default " CLI_DEFAULT_SERVER
           ") and --json.\n\n");
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++)
        cli_print_verb(verb, stdout);
    printf("\nExit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no server answered, 4 not "
           "found.\n");
}

/* How many words of argv the verb's name takes, or 0 when it is not this verb. */
static int
cli_verb_match(const struct cli_verb *verb, int argc, char **argv)
{
    const char *space = strchr(verb->name, ' ');

    if (space == NULL)
        return argc > 1 && strcmp(argv[1], verb->name) == 0 ? 1 : 0;
    size_t first = (size_t)(space - verb->name);
    if (argc < 3 || strlen(argv[1]) != first || strncmp(argv[1], verb->name, first) != 0)
        return 0;
    return strcmp(argv[2], space + 1) == 0 ? 2 : 0;
}

static const struct cli_option *
cli_find_option(const struct cli_verb *verb, const char *name, size_t count)
{
    static const struct cli_option common[] = {
        {"server", "HOST:PORT", ""},
        {"json", NULL, ""},
        {"help", NULL, ""},
        {NULL, NULL, NULL},
    };
    const struct cli_option *tables[] = {verb->options, common};

    for (size_t table = 0; table < ARRAY_COUNT(tables); table++)
        for (const struct cli_option *option = tables[table]; option->name != NULL; option++)
            if (strlen(option->name) == count && strncmp(option->name, name, count) == 0)
                return option;
    return NULL;
}

/* Takes one "--name[=value]"; advances *at past what it used. Returns CLI_OK or CLI_USAGE. */
static int
cli_parse_option(const struct cli_verb *verb, struct cli_args *args, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t count = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *option = cli_find_option(verb, name, count);
    const char *value = "";

    if (option == NULL)
        return cli_fail(
            args, CLI_USAGE, "unknown option %s (see eagre %s --help)", argv[*at], verb->name);
    if (option->value == NULL && equals != NULL)
        return cli_fail(args, CLI_USAGE, "--%s takes no value", option->name);
    if (option->value != NULL) {
        if (equals == NULL && *at + 1 >= argc)
            return cli_fail(args, CLI_USAGE, "--%s needs a value: %s", option->name, option->value);
        value = equals != NULL ? equals + 1 : argv[++*at];
    }
    if (args->given_count == CLI_WORDS_MAX)
        return cli_fail(args, CLI_USAGE, "more than %u options", CLI_WORDS_MAX);
    args->given[args->given_count++] = (struct cli_given){option->name, value};
    return CLI_OK;
}

static int
cli_parse(const struct cli_verb *verb, struct cli_args *args, int argc, char **argv, int at)
{
    for (; at < argc; at++) {
        if (strncmp(argv[at], "--", 2) == 0 && argv[at][2] != '\0') {
            int status = cli_parse_option(verb, args, argc, argv, &at);
            if (status != CLI_OK)
                return status;
            continue;
        }
        if (args->word_count == CLI_WORDS_MAX || args->word_count == verb->words_max)
            return cli_fail(args, CLI_USAGE, "unexpected argument '%s'", argv[at]);
        args->words[args->word_count++] = argv[at];
    }
    args->json = cli_flag(args, "json");
    args->server = cli_text(args, "server", CLI_DEFAULT_SERVER);
    return CLI_OK;
}

/* The verbs that begin with this word, or none. */
static bool
cli_print_family(const char *word, FILE *to)
{
    size_t count = strlen(word);
    bool found = false;

    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        if (count == 0 || strncmp(verb->name, word, count) != 0 || verb->name[count] != ' ')
            continue;
        cli_print_verb(verb, to);
        found = true;
    }
    return found;
}

/* "eagre group" and "eagre group --help" tell what there is; only the first is a mistake. */
static int
cli_unknown(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const char *second = argc > 2 ? argv[2] : "";
    bool asks = strcmp(second, "--help") == 0;

    if (!cli_print_family(word, asks ? stdout : stderr))
        fprintf(stderr, "eagre: unknown verb '%s' (see eagre help)\n", word);
    else if (asks)
        return CLI_OK;
    else if (second[0] == '\0' || second[0] == '-')
        fprintf(stderr, "eagre %s: which of these?\n", word);
    else
        fprintf(stderr, "eagre %s: none of these is '%s'\n", word, second);
    return CLI_USAGE;
}

int
cli_main(int argc, char **argv)
{
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        int taken = cli_verb_match(verb, argc, argv);
        if (taken == 0)
            continue;
        struct cli_args args = {.verb = verb->name};
        int status = cli_parse(verb, &args, argc, argv, 1 + taken);
        if (status != CLI_OK)
            return status;
        if (cli_flag(&args, "help")) {
            cli_print_verb(verb, stdout);
            return CLI_OK;
        }
        if (args.word_count < verb->words_min)
            return cli_fail(&args, CLI_USAGE, "missing argument: %s", verb->words);
        return verb->run(&args);
    }
    return cli_unknown(argc, argv);
}
