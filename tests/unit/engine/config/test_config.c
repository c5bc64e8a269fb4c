/* Goal: settings are taken whole or refused with place, key and range; flags beat the file, the
 * file beats the defaults. Method: bad files and flags first, each with the words its message must
 * hold; then precedence; then the table against itself and against the checked-in file. */
#include "engine/config/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct settings settings;
static struct diag_trail trail;

static enum rc
load_text(const char *text)
{
    diag_trail_clear(&trail);
    config_defaults(&settings);
    return config_yaml(&settings, "x.yaml", text, strlen(text), &trail);
}

static enum rc
load_flags(int argc, const char *const *argv)
{
    char *copies[8];
    enum rc rc;

    for (int i = 0; i < argc; i++)
        copies[i] = strdup(argv[i]);
    diag_trail_clear(&trail);
    rc = config_load(argc, copies, &settings, &trail);
    for (int i = 0; i < argc; i++)
        free(copies[i]);
    return rc;
}

#define LOAD_FLAGS(...) \
    load_flags((int)ARRAY_COUNT(((const char *[]){__VA_ARGS__})), (const char *[]){__VA_ARGS__})

struct bad_text {
    const char *text;
    enum rc rc;
    const char *words[4]; /* each must stand in the message */
};

Test(config_yaml, refuses_with_file_line_key_and_range, .timeout = 10)
{
    static const struct bad_text bad[] = {
        {"data: x\nspeed: 3\n", RC_INVALID, {"x.yaml:2", "'speed'", "unknown key"}},
        {"journal:\n  file_byte: 3\n", RC_INVALID, {"x.yaml:2", "'journal.file_byte'"}},
        {"journal.file_bytes: 3\n",
         RC_INVALID,
         {"x.yaml:1", "journal.file_bytes", "'3'", "from 1MiB to 1GiB"}},
        {"\n\npoll: never\n", RC_INVALID, {"x.yaml:3", "poll", "auto|always"}},
        {"dev: maybe\n", RC_INVALID, {"dev", "true or false"}},
        {"kafka: localhost\n", RC_INVALID, {"kafka", "HOST:PORT"}},
        {"data: x\ndata: y\n", RC_INVALID, {"x.yaml:2", "'data'", "set twice"}},
        {"log:\n  level: warn\nlog.level: info\n", RC_INVALID, {"x.yaml:3", "set twice"}},
        {"data: [a, b]\n", RC_INVALID, {"x.yaml:1", "'data'", "list"}},
        {"- data\n", RC_INVALID, {"list"}},
        {"data: &here x\n", RC_INVALID, {"anchors"}},
        {"data: *here\n", RC_INVALID, {"x.yaml:1"}},
        {"data\n", RC_INVALID, {"key: value"}},
        {"{a: 1}: x\n", RC_INVALID, {"x.yaml:1"}},
        {"a: {b: {c: {d: {e: 1}}}}\n", RC_INVALID, {"nested too deeply"}},
        {"config: y.yaml\n", RC_INVALID, {"another file"}},
        {"data: x\n---\ndata: y\n", RC_INVALID, {"one document"}},
        {"data: 'x\n", RC_MALFORMED, {"x.yaml:", "not YAML"}},
        {"\tdata: x\n", RC_MALFORMED, {"not YAML"}},
    };

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        enum rc rc = load_text(bad[i].text);
        cr_expect_eq(rc, bad[i].rc, "%s: %s", bad[i].text, rc_name(rc));
        for (size_t w = 0; w < ARRAY_COUNT(bad[i].words) && bad[i].words[w] != NULL; w++)
            cr_expect_not_null(strstr(trail.text, bad[i].words[w]),
                               "'%s' is not in '%s'",
                               bad[i].words[w],
                               trail.text);
    }
}

Test(config_yaml, refuses_an_endless_key, .timeout = 10)
{
    char text[400];

    memset(text, 'k', sizeof(text));
    snprintf(text + 300, sizeof(text) - 300, ": 1\n");
    cr_assert_eq(load_text(text), RC_INVALID);
}

Test(config_yaml, takes_dotted_and_nested_keys_alike, .timeout = 10)
{
    cr_assert_eq(load_text("journal:\n  file_bytes: 4MiB\nmax: {message: {bytes: 2MiB}}\n"
                           "retention.ms: 12h\npoll: always\nadvertise: \"\"\n"),
                 RC_OK,
                 "%s",
                 trail.text);
    cr_assert_eq(settings.journal_file_bytes, 4 * MIB);
    cr_assert_eq(settings.max_message_bytes, 2 * MIB);
    cr_assert_eq(settings.retention_ms, 12 * 3600 * 1000);
    cr_assert_eq(settings.poll, (uint32_t)SETTINGS_POLL_ALWAYS);
    cr_assert_eq(settings.advertise.host[0], '\0');
}

Test(config_yaml, takes_empty_and_comment_only_files, .timeout = 10)
{
    cr_assert_eq(load_text(""), RC_OK);
    cr_assert_eq(load_text("# nothing\n"), RC_OK);
    cr_assert_eq(load_text("---\n"), RC_OK, "%s", trail.text);
}

Test(config_load, refuses_bad_flags_by_name, .timeout = 10)
{
    cr_assert_eq(LOAD_FLAGS("--speed", "3"), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "unknown flag '--speed'"));
    cr_assert_eq(LOAD_FLAGS("data"), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "not a flag"));
    cr_assert_eq(LOAD_FLAGS("--data"), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "--data needs a value"));
    cr_assert_eq(LOAD_FLAGS("--memory=1MB"), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "memory: '1MB'"));
    cr_assert_eq(LOAD_FLAGS("--config", "/nonexistent/x.yaml"), RC_NOT_FOUND);
    cr_assert_not_null(strstr(trail.text, "/nonexistent/x.yaml"));
}

Test(config_load, refuses_settings_that_contradict_each_other, .timeout = 10)
{
    cr_assert_eq(LOAD_FLAGS("--journal.file_bytes=1MiB"), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "journal.file_bytes"));
    cr_assert_not_null(strstr(trail.text, "max.message.bytes"));
    cr_assert_eq(LOAD_FLAGS("--journal.file_bytes=1MiB", "--max.message.bytes=512KiB"), RC_OK);
    cr_assert_eq(LOAD_FLAGS("--connection.request_bytes_max", "64KiB"), RC_INVALID);
    cr_assert_eq(LOAD_FLAGS("--topic.partitions_max=3", "--topic.partitions_default=4"),
                 RC_INVALID);
}

Test(config_load, lets_flags_beat_the_file_and_the_file_the_defaults, .timeout = 10)
{
    char name[] = "/tmp/eagre-config-XXXXXX";
    static const char text[] = "data: from-file\nbroker.id: 7\n";
    int fd = mkstemp(name);

    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
    close(fd);
    cr_assert_eq(
        LOAD_FLAGS("--data", "from-flag", "--config", name, "--dev"), RC_OK, "%s", trail.text);
    unlink(name);
    cr_assert_str_eq(settings.data, "from-flag");
    cr_assert_eq(settings.broker_id, 7u);
    cr_assert(settings.dev);
    cr_assert_eq(settings.kafka.port, 9092);
}

Test(config_load, takes_the_last_of_several_flags, .timeout = 10)
{
    cr_assert_eq(LOAD_FLAGS("--data=a", "--data=b", "--dev", "--dev=false"), RC_OK);
    cr_assert_str_eq(settings.data, "b");
    cr_assert(!settings.dev);
}

Test(config_table, holds_only_defaults_that_it_takes_itself, .timeout = 10)
{
    config_defaults(&settings);
    for (uint32_t i = 0; i < config_count(); i++) {
        const struct setting *row = config_at(i);
        struct settings copy = settings;
        char value[CONFIG_TEXT_MAX + 16];

        cr_expect_eq(config_set(&copy, row, row->preset, strlen(row->preset), &trail),
                     RC_OK,
                     "%s",
                     trail.text);
        config_value(&settings, row, value, sizeof(value));
        cr_expect_eq(config_set(&copy, row, value, strlen(value), &trail), RC_OK, "%s", trail.text);
        cr_expect_eq(memcmp(&copy, &settings, sizeof(copy)), 0, "%s does not come back", row->name);
        cr_expect_eq(config_find(row->name, strlen(row->name)), row, "%s stands twice", row->name);
    }
    cr_assert_eq(config_check(&settings, &trail), RC_OK, "%s", trail.text);
}

Test(config_table, makes_a_file_whose_keys_load_as_the_defaults, .timeout = 10)
{
    static char text[CONFIG_FILE_BYTES_MAX];
    struct settings defaults;
    FILE *file = fopen(SOURCE_ROOT "/deploy/config/eagre.yaml", "r");
    size_t keys = 0;

    cr_assert_not_null(file);
    size_t count = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    for (size_t i = 0; i + 1 < count; i++) {
        bool starts_line = i == 0 || text[i - 1] == '\n';
        if (starts_line && text[i] == '#' && text[i + 1] != ' ') {
            memmove(text + i, text + i + 1, count - i);
            count--;
            keys++;
        }
    }
    text[count] = '\0';
    cr_assert_eq(load_text(text), RC_OK, "%s", trail.text);
    cr_assert_eq(keys, config_count() - 1, "all but config");
    config_defaults(&defaults);
    cr_assert_eq(memcmp(&defaults, &settings, sizeof(defaults)), 0);
}

Test(config_usage, names_every_flag, .timeout = 10)
{
    char *text = NULL;
    size_t count = 0;
    FILE *out = open_memstream(&text, &count);

    config_usage(out);
    fclose(out);
    for (uint32_t i = 0; i < config_count(); i++)
        cr_expect_not_null(strstr(text, config_at(i)->name));
    free(text);
}
