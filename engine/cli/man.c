/* eagre man: manual pages from the same table as --help, in the man(7) macros. One page to standard
 * output, or all of them into a directory. */
#include "engine/cli/pages.h"

#include <errno.h>
#include <string.h>

#define NAME_MAX_BYTES 64u
#define MAN_DATE "2026-11-21" /* of the version */

struct man {
    const struct cli_args *args;
    const char *directory; /* NULL: standard output */
    const char *wanted;    /* a page's name, "eagre-topic-create"; NULL: all */
    FILE *to;
    uint32_t written;
    bool failed;
};

/* roff reads a dash as a hyphen, a backslash as a command, and a leading dot or quote as a request.
 */
static void
man_text(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", to);
        else if (*text == '-')
            fputs("\\-", to);
        else if (*text == '\'')
            fputs("\\(aq", to);
        else
            fputc(*text, to);
    }
}

/* "topic create" -> "eagre-topic-create". */
static void
man_name(char ret_name[NAME_MAX_BYTES], const struct cli_verb *verb)
{
    snprintf(ret_name, NAME_MAX_BYTES, "eagre-%s", verb->name);
    for (char *at = ret_name; *at != '\0'; at++)
        if (*at == ' ')
            *at = '-';
}

static bool
man_open(struct man *man, const char *name)
{
    char path[1024];

    if (man->wanted != NULL && strcmp(man->wanted, name) != 0)
        return false;
    man->written++;
    man->to = stdout;
    if (man->directory == NULL)
        return true;
    snprintf(path, sizeof(path), "%s/%s.1", man->directory, name);
    man->to = fopen(path, "w");
    if (man->to == NULL) {
        (void)cli_fail(man->args, CLI_FAILED, "%s: %s", path, strerror(errno));
        man->failed = true;
    }
    return man->to != NULL;
}

static void
man_close(struct man *man)
{
    if (man->to != stdout && fclose(man->to) != 0)
        man->failed = true;
}

static void
man_head(FILE *to, const char *name, const char *summary)
{
    fputs(".TH ", to);
    for (const char *at = name; *at != '\0'; at++)
        fputc(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at, to);
    fprintf(
        to, " 1 \"" MAN_DATE "\" \"eagre %s\" \"Eagre\"\n.SH NAME\n%s \\- ", EAGRE_VERSION, name);
    man_text(to, summary);
    fputc('\n', to);
}

static void
man_option(void *ctx, const struct cli_option *option)
{
    FILE *to = ctx;

    fprintf(to, ".TP\n\\fB\\-\\-");
    man_text(to, option->name);
    fprintf(to, "\\fR");
    if (option->value != NULL) {
        fprintf(to, " \\fI");
        man_text(to, option->value);
        fprintf(to, "\\fR");
    }
    fputc('\n', to);
    man_text(to, option->help);
    fputc('\n', to);
}

static void
man_exit_codes(FILE *to, const struct cli_verb *verb)
{
    bool is_verify = strcmp(verb->name, "verify") == 0;

    fputs(".SH EXIT STATUS\n", to);
    if (strcmp(verb->name, "serve") == 0)
        fputs("0 after a clean stop, 1 when it could not start or failed, 2 for a wrong setting.\n",
              to);
    else if (is_verify)
        fputs("0 clean, 1 something was found, 2 cannot read.\n", to);
    else
        fputs("0 done, 1 refused or failed, 2 wrong usage, 3 no server answered, 4 not found.\n",
              to);
}

static void
man_verb(void *ctx, const struct cli_verb *verb)
{
    struct man *man = ctx;
    char name[NAME_MAX_BYTES];

    man_name(name, verb);
    if (!man_open(man, name))
        return;
    man_head(man->to, name, verb->summary);
    fprintf(man->to, ".SH SYNOPSIS\n\\fBeagre %s\\fR", verb->name);
    if (verb->words[0] != '\0') {
        fprintf(man->to, " \\fI");
        man_text(man->to, verb->words);
        fprintf(man->to, "\\fR");
    }
    fprintf(man->to, " [\\fIoptions\\fR]\n.SH DESCRIPTION\n");
    man_text(man->to, verb->summary);
    fprintf(man->to, "\n.SH OPTIONS\n");
    pages_each_option(verb, man_option, man->to);
    man_exit_codes(man->to, verb);
    fprintf(man->to, ".SH SEE ALSO\n.BR eagre (1)\n");
    man_close(man);
}

static void
man_list_verb(void *ctx, const struct cli_verb *verb)
{
    struct man *man = ctx;
    char name[NAME_MAX_BYTES];

    man_name(name, verb);
    fprintf(man->to, ".TP\n.BR ");
    man_text(man->to, name);
    fprintf(man->to, " (1)\n");
    man_text(man->to, verb->summary);
    fputc('\n', man->to);
}

static void
man_main(struct man *man)
{
    if (!man_open(man, "eagre"))
        return;
    man_head(
        man->to, "eagre", "a streaming engine that keeps partitioned, replayable, durable logs");
    fputs(
        ".SH SYNOPSIS\n\\fBeagre\\fR \\fIverb\\fR [\\fIarguments\\fR] [\\fIoptions\\fR]\n"
        ".SH DESCRIPTION\n"
        "One program: the server that Kafka clients connect to, and the command line beside it. "
        "Verbs that talk\nto a server are ordinary Kafka clients and take \\fB\\-\\-server\\fR and "
        "\\fB\\-\\-json\\fR.\n.SH VERBS\n",
        man->to);
    pages_each_verb(man_list_verb, man);
    fputs(
        ".SH EXIT STATUS\n0 done, 1 refused or failed, 2 wrong usage, 3 no server answered, 4 not "
        "found.\n",
        man->to);
    man_close(man);
}

int
cli_man(const struct cli_args *args)
{
    struct man man = {.args = args, .directory = cli_text(args, "all", NULL)};
    char wanted[NAME_MAX_BYTES] = "eagre";

    if (man.directory == NULL) {
        for (uint32_t i = 0; i < args->word_count; i++)
            snprintf(
                wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "-%s", args->words[i]);
        man.wanted = wanted;
    }
    man_main(&man);
    pages_each_verb(man_verb, &man);
    if (man.written == 0)
        return cli_fail(args, CLI_NOT_FOUND, "no page %s", wanted);
    return man.failed ? CLI_FAILED : CLI_OK;
}
