/* The settings of `eagre serve`: one table (settings.def), one plain struct, one way to fill it.
 *
 * Order of precedence: flags, then the YAML file that --config names, then the defaults. A file's
 * keys may be written with dots (`journal.file_bytes: 4MiB`) or as nested mappings. An unknown key,
 * a key set twice or a value outside its range is refused with file, line, key and what is allowed;
 * nothing is half taken.
 *
 *   struct settings settings;
 *   struct diag_trail trail = {0};
 *   if (config_load(argc, argv, &settings, &trail) != RC_OK) { tell trail.text; stop }
 *
 * Runs on: the starting thread, before any core.  Allocates: with malloc (libyaml), all given back.
 * Blocks: on reading the file. */
#ifndef EAGRE_ENGINE_CONFIG_CONFIG_H
#define EAGRE_ENGINE_CONFIG_CONFIG_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#include <stdio.h>

#define CONFIG_TEXT_MAX 256u /* bytes of a TEXT setting or a host, with the NUL */
#define CONFIG_FILE_BYTES_MAX (1u << 20)

struct host_port {
    char host[CONFIG_TEXT_MAX]; /* name or address, without brackets; empty: not set */
    uint16_t port;
};

/* Values of the CHOICE settings, in the order of their words in settings.def. */
enum settings_poll { SETTINGS_POLL_AUTO, SETTINGS_POLL_ALWAYS };
enum settings_io { SETTINGS_IO_AUTO, SETTINGS_IO_URING, SETTINGS_IO_THREADS };
enum settings_native_auth { SETTINGS_NATIVE_AUTH_AEAD, SETTINGS_NATIVE_AUTH_NONE };
/* log_level counts as enum diag_level does. */

#define CONFIG_FIELD_BOOL(field) bool field;
#define CONFIG_FIELD_U64(field) uint64_t field;
#define CONFIG_FIELD_BYTES(field) uint64_t field;
#define CONFIG_FIELD_SIZE_OR_NONE(field) int64_t field;
#define CONFIG_FIELD_MS(field) int64_t field;
#define CONFIG_FIELD_TEXT(field) char field[CONFIG_TEXT_MAX];
#define CONFIG_FIELD_CHOICE(field) uint32_t field;
#define CONFIG_FIELD_HOST_PORT(field) struct host_port field;

/* One field per row of settings.def; names are the settings' with '_' for '.'. */
struct settings {
#define SETTING(field, name, type, unit, preset, min, max, when, about) CONFIG_FIELD_##type(field)
#include "engine/config/settings.def"
#undef SETTING
};

enum setting_type {
    SETTING_BOOL,
    SETTING_U64,
    SETTING_BYTES,
    SETTING_SIZE_OR_NONE,
    SETTING_MS,
    SETTING_TEXT,
    SETTING_CHOICE,
    SETTING_HOST_PORT,
};

enum setting_when { SETTING_RESTART, SETTING_LIVE };

/* One row of the table, for lists and documents; static storage. */
struct setting {
    const char *name;
    enum setting_type type;
    const char *unit; /* CHOICE: "auto|always" */
    const char *preset;
    int64_t min; /* inclusive */
    int64_t max; /* inclusive */
    enum setting_when when;
    const char *about;
    size_t offset; /* of the field in struct settings */
};

/* Fills *ret from defaults, the file named by --config, and flags (`--name value`, `--name=value`;
 * a BOOL alone means true; the last of several wins; '-' may stand for '.' in a name).
 *
 * argv    argc words, all of them flags: the caller has taken the program's name and the verb away.
 * trail   Says what is wrong, for the user; may be NULL.
 *
 * RC_OK, or RC_NOT_FOUND / RC_DENIED / RC_IO_ERROR (file), RC_MALFORMED (not YAML), RC_INVALID (key
 * or value); then *ret is unspecified. */
enum rc config_load(int argc, char **argv, struct settings *ret, struct diag_trail *trail) MUST_USE;

/* The defaults of the table. */
void config_defaults(struct settings *ret);

/* Takes the settings of a YAML text over *settings. name stands in messages. Results as
 * config_load. */
enum rc config_yaml(struct settings *settings,
                    const char *name,
                    const void *text,
                    size_t count,
                    struct diag_trail *trail) MUST_USE;

/* Rules between settings, as in "a batch fits a journal file"; config_load calls it last. */
enum rc config_check(const struct settings *settings, struct diag_trail *trail) MUST_USE;

/* The table. index < config_count(). */
uint32_t config_count(void);
const struct setting *config_at(uint32_t index);

/* The row of a name of count bytes, or NULL. */
const struct setting *config_find(const char *name, size_t count);

/* Sets one setting from text. RC_INVALID with the allowed range in the trail when it is not
 * allowed. */
enum rc config_set(struct settings *settings,
                   const struct setting *setting,
                   const char *text,
                   size_t count,
                   struct diag_trail *trail) MUST_USE;

/* Writes the present value as a user would write it, cut to capacity with the NUL. */
void config_value(const struct settings *settings,
                  const struct setting *setting,
                  char *ret,
                  size_t capacity);

/* Writes what is allowed, as in "a size from 1MiB to 1GiB", cut to capacity with the NUL. */
void config_allowed(const struct setting *setting, char *ret, size_t capacity);

/* The list of flags for `eagre serve --help`. */
void config_usage(FILE *out);

#endif
