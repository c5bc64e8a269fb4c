/* Loading in order: defaults, file, flags, then the rules between settings. */
#include "engine/config/config.h"

#include "engine/config/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A journal group needs its header table beside the largest batch. */
#define CONFIG_GROUP_HEADER_BYTES (64 * KIB)

static enum rc
read_file(const char *name, char *bytes, size_t *ret_count, struct diag_trail *trail)
{
    FILE *file = fopen(name, "re");
    enum rc rc = RC_OK;

    if (file == NULL) {
        rc = rc_from_errno(errno);
        diag_trail_add(trail, "%s: %s", name, rc_text(rc));
        return rc;
    }
    *ret_count = fread(bytes, 1, CONFIG_FILE_BYTES_MAX + 1, file);
    if (ferror(file) != 0) {
        rc = RC_IO_ERROR;
        diag_trail_add(trail, "%s: %s", name, rc_text(rc));
    } else if (*ret_count > CONFIG_FILE_BYTES_MAX) {
        rc = RC_INVALID;
        diag_trail_add(trail, "%s: longer than %u bytes", name, CONFIG_FILE_BYTES_MAX);
    }
    (void)fclose(file);
    return rc;
}

static enum rc
load_file(struct settings *settings, const char *name, struct diag_trail *trail)
{
    char *bytes = malloc(CONFIG_FILE_BYTES_MAX + 1);
    size_t count = 0;
    enum rc rc = RC_NO_MEMORY;

    if (bytes == NULL)
        return rc;
    rc = read_file(name, bytes, &count, trail);
    if (rc == RC_OK)
        rc = config_yaml(settings, name, bytes, count, trail);
    free(bytes);
    return rc;
}

/* One flag of argv, taken apart. */
struct flag {
    const struct setting *setting;
    const char *value;
    int words; /* of argv that it used: 1 or 2 */
};

/* A flag by its name; `--nic-address` is the same as `--nic.address`. */
static const struct setting *
flag_find(const char *name, size_t count)
{
    const struct setting *setting = config_find(name, count);
    char dotted[64];

    if (setting != NULL || count >= sizeof(dotted))
        return setting;
    for (size_t i = 0; i < count; i++)
        dotted[i] = (char)(name[i] == '-' ? '.' : name[i]);
    return config_find(dotted, count);
}

static enum rc
flag_read(int left, char **argv, struct flag *ret, struct diag_trail *trail)
{
    const char *word = argv[0];
    const char *equals = strchr(word, '=');
    const char *name = word + 2;

    if (strncmp(word, "--", 2) != 0) {
        diag_trail_add(trail, "'%.60s' is not a flag; flags begin with --", word);
        return RC_INVALID;
    }
    ret->setting = flag_find(name, equals != NULL ? (size_t)(equals - name) : strlen(name));
    ret->words = 1;
    if (ret->setting == NULL) {
        diag_trail_add(trail, "unknown flag '%.60s'; --help lists them", word);
        return RC_INVALID;
    }
    if (equals != NULL) {
        ret->value = equals + 1;
    } else if (ret->setting->type == SETTING_BOOL) {
        ret->value = "true";
    } else if (left > 1) {
        ret->value = argv[1];
        ret->words = 2;
    } else {
        diag_trail_add(trail, "--%s needs a value", ret->setting->name);
        return RC_INVALID;
    }
    return RC_OK;
}

static enum rc
load_flags(int argc, char **argv, struct settings *settings, struct diag_trail *trail)
{
    struct flag flag = {0};

    for (int i = 0; i < argc; i += flag.words) {
        enum rc rc = flag_read(argc - i, argv + i, &flag, trail);
        if (rc != RC_OK)
            return rc;
        rc = config_set(settings, flag.setting, flag.value, strlen(flag.value), trail);
        if (rc != RC_OK) {
            diag_trail_add(trail, "flag");
            return rc;
        }
    }
    return RC_OK;
}

enum rc
config_load(int argc, char **argv, struct settings *ret, struct diag_trail *trail)
{
    enum rc rc;

    config_defaults(ret);
    /* Flags are read twice: first to learn the file's name, then once more over what it said. */
    rc = load_flags(argc, argv, ret, trail);
    if (rc == RC_OK && ret->config[0] != '\0') {
        char name[CONFIG_TEXT_MAX];
        (void)snprintf(name, sizeof(name), "%s", ret->config);
        config_defaults(ret);
        rc = load_file(ret, name, trail);
        if (rc == RC_OK)
            rc = load_flags(argc, argv, ret, trail);
    }
    return rc == RC_OK ? config_check(ret, trail) : rc;
}

/* Refuses when the first is less than the second; both are named. */
static enum rc
check_order(const char *large_name,
            uint64_t large,
            const char *small_name,
            uint64_t small,
            struct diag_trail *trail)
{
    char needed[32];

    if (large >= small)
        return RC_OK;
    format_bytes(small, needed, sizeof(needed));
    diag_trail_add(trail, "%s must be at least %s because of %s", large_name, needed, small_name);
    return RC_INVALID;
}

enum rc
config_check(const struct settings *settings, struct diag_trail *trail)
{
    static const char batch_name[] = "max.message.bytes";
    uint64_t batch = settings->max_message_bytes;
    enum rc rc;

    rc = check_order("journal.file_bytes",
                     settings->journal_file_bytes,
                     batch_name,
                     batch + CONFIG_GROUP_HEADER_BYTES,
                     trail);
    if (rc == RC_OK)
        rc = check_order("segment.bytes",
                         settings->segment_bytes,
                         batch_name,
                         batch + CONFIG_GROUP_HEADER_BYTES,
                         trail);
    if (rc == RC_OK)
        rc = check_order("connection.request_bytes_max",
                         settings->connection_request_bytes_max,
                         batch_name,
                         batch,
                         trail);
    if (rc == RC_OK && settings->topic_partitions_default > settings->topic_partitions_max) {
        diag_trail_add(trail,
                       "topic.partitions_default is above topic.partitions_max, %" PRIu64,
                       settings->topic_partitions_max);
        rc = RC_INVALID;
    }
    return rc;
}

void
config_usage(FILE *out)
{
    for (uint32_t i = 0; i < config_count(); i++) {
        const struct setting *row = config_at(i);
        (void)fprintf(out, "  --%-30s %s", row->name, row->about);
        if (row->preset[0] != '\0')
            (void)fprintf(out, " [%s]", row->preset);
        (void)fputc('\n', out);
    }
}
