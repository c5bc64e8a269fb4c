/* eagre completion bash|zsh: a script for the shell, from the same table as --help. */
#include "engine/cli/pages.h"

#include <string.h>

/* ---- bash ---- */

static void
bash_word(void *ctx, const struct cli_option *option)
{
    (void)ctx;
    printf(" --%s", option->name);
}

static void
bash_words(void *ctx, const struct cli_verb *verb)
{
    (void)ctx;
    printf("        '%s') options='", verb->name);
    pages_each_option(verb, bash_word, NULL);
    printf("' ;;\n");
}

/* A value of a few words is completed by them, a path by file names, anything else by nothing. */
static void
bash_value(void *ctx, const struct cli_option *option)
{
    const struct cli_verb *verb = ctx;
    const char *value = option->value;

    if (value == NULL)
        return;
    printf("        '%s --%s') ", verb->name, option->name);
    if (pages_is_choice(value)) {
        printf("values='");
        for (const char *at = value; *at != '\0'; at++)
            putchar(*at == '|' ? ' ' : *at);
        printf("'");
    } else if (strcmp(value, "DIR") == 0) {
        printf("files=-d");
    } else if (strcmp(value, "FILE") == 0 || strcmp(value, "PATH") == 0) {
        printf("files=-f");
    } else {
        printf("values=");
    }
    printf(" ;;\n");
}

static void
bash_values(void *ctx, const struct cli_verb *verb)
{
    (void)ctx;
    pages_each_option(verb, bash_value, (void *)(uintptr_t)verb);
}

static void
first_word(void *ctx, const struct cli_verb *verb)
{
    size_t count = strcspn(verb->name, " ");

    (void)ctx;
    for (const struct cli_verb *row = cli_verbs; row->name != NULL && row != verb; row++)
        if (strcspn(row->name, " ") == count && strncmp(row->name, verb->name, count) == 0)
            return; /* an earlier verb of the same noun */
    printf("%.*s ", (int)count, verb->name);
}

static void
second_word(void *ctx, const struct cli_verb *verb)
{
    const char *space = strchr(verb->name, ' ');

    (void)ctx;
    if (space != NULL)
        printf(
            "        '%.*s') verbs+=' %s' ;;&\n", (int)(space - verb->name), verb->name, space + 1);
}

static void
print_first_words(void)
{
    pages_each_verb(first_word, NULL);
    printf("help version");
}

static void
completion_bash(void)
{
    printf("# bash completion for eagre; made by `eagre completion bash`.\n"
           "_eagre()\n{\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local noun=${COMP_WORDS[1]} verbs='' verb='' options='' values='' files=''\n"
           "    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then\n"
           "        COMPREPLY=($(compgen -W '");
    print_first_words();
    printf("' -- \"$word\"))\n        return\n    fi\n"
           "    case $noun in\n");
    pages_each_verb(second_word, NULL);
    printf("        completion) verbs='bash zsh' ;;\n"
           "    esac\n"
           "    if [[ -n $verbs && $word != -* ]] && ((COMP_CWORD == 2)); then\n"
           "        COMPREPLY=($(compgen -W \"$verbs\" -- \"$word\"))\n        return\n    fi\n"
           "    verb=$noun\n"
           "    [[ -n $verbs && $noun != completion ]] && verb+=\" ${COMP_WORDS[2]}\"\n"
           "    values=none-of-ours\n"
           "    case \"$verb $before\" in\n");
    pages_each_verb(bash_values, NULL);
    printf("        *) values='' ;;\n"
           "    esac\n"
           "    if [[ $values == none-of-ours ]]; then\n"
           "        COMPREPLY=($(compgen \"$files\" -- \"$word\"))\n        return\n    fi\n"
           "    case \"$verb\" in\n");
    pages_each_verb(bash_words, NULL);
    printf("    esac\n"
           "    if [[ -n $values ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
           "    elif [[ $word == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
           "    elif [[ $verb == dump ]]; then\n"
           "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
           "    fi\n"
           "}\n"
           "complete -F _eagre eagre\n");
}

/* ---- zsh ---- */

/* Text inside '...[...]': brackets, colons and quotes would end it. */
static void
zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            printf("'\\''");
        else if (*text == '[' || *text == ']' || *text == ':')
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void
zsh_option(void *ctx, const struct cli_option *option)
{
    const char *value = option->value;

    (void)ctx;
    printf(" \\\n            '*--%s%s[", option->name, value != NULL ? "=" : "");
    zsh_text(option->help);
    printf("]");
    if (pages_is_choice(value)) {
        printf(":%s:(", option->name);
        for (const char *at = value; *at != '\0'; at++)
            putchar(*at == '|' ? ' ' : *at);
        printf(")");
    } else if (value != NULL && (strcmp(value, "DIR") == 0)) {
        printf(":directory:_files -/");
    } else if (value != NULL && (strcmp(value, "FILE") == 0 || strcmp(value, "PATH") == 0)) {
        printf(":file:_files");
    } else if (value != NULL) {
        printf(":");
        zsh_text(value);
        printf(": ");
    }
    putchar('\'');
}

static void
zsh_verb(void *ctx, const struct cli_verb *verb)
{
    (void)ctx;
    printf("        '%s') _arguments -s", verb->name);
    pages_each_option(verb, zsh_option, NULL);
    printf(" \\\n            '*:%s:_files' ;;\n", verb->words[0] != '\0' ? "argument" : "nothing");
}

static void
completion_zsh(void)
{
    printf("#compdef eagre\n"
           "# zsh completion for eagre; made by `eagre completion zsh`.\n"
           "_eagre()\n{\n"
           "    local verbs='' verb=$words[2]\n"
           "    if ((CURRENT == 2)); then\n        compadd -- ");
    print_first_words();
    printf("\n        return\n    fi\n"
           "    verbs=''\n");
    for (const struct cli_verb *row = cli_verbs; row->name != NULL; row++) {
        const char *space = strchr(row->name, ' ');
        if (space != NULL)
            printf("    [[ $verb == %.*s ]] && verbs+=' %s'\n",
                   (int)(space - row->name),
                   row->name,
                   space + 1);
    }
    printf("    [[ $verb == completion ]] && ((CURRENT == 3)) && verbs='bash zsh'\n"
           "    if [[ -n $verbs ]]; then\n"
           "        if ((CURRENT == 3)); then\n"
           "            compadd -- ${=verbs}\n            return\n        fi\n"
           "        verb+=\" $words[3]\"\n"
           "        shift words\n        ((CURRENT--))\n    fi\n"
           "    shift words\n    ((CURRENT--))\n"
           "    case $verb in\n");
    pages_each_verb(zsh_verb, NULL);
    printf("    esac\n"
           "}\n"
           "if [[ $funcstack[1] == _eagre ]]; then _eagre \"$@\"; else compdef _eagre eagre; fi\n");
}

int
cli_completion(const struct cli_args *args)
{
    if (strcmp(args->words[0], "bash") == 0)
        completion_bash();
    else if (strcmp(args->words[0], "zsh") == 0)
        completion_zsh();
    else
        return cli_fail(args, CLI_USAGE, "%s: bash or zsh", args->words[0]);
    return CLI_OK;
}
