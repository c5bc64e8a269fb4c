/* The table of settings.def as rows: lookup, defaults, setting from text, and back to text. */
#include "engine/config/config.h"

#include "engine/config/parse.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define SETTING(field, name, type, unit, preset, min, max, when, about) \
    {name,                                                              \
     SETTING_##type,                                                    \
     unit,                                                              \
     preset,                                                            \
     (int64_t)(min),                                                    \
     (int64_t)(max),                                                    \
     SETTING_##when,                                                    \
     about,                                                             \
     offsetof(struct settings, field)},
static const struct setting rows[] = {
#include "engine/config/settings.def"
};
#undef SETTING

uint32_t
config_count(void)
{
    return (uint32_t)ARRAY_COUNT(rows);
}

const struct setting *
config_at(uint32_t index)
{
    return &rows[index];
}

const struct setting *
config_find(const char *name, size_t count)
{
    for (uint32_t i = 0; i < config_count(); i++) {
        if (strlen(rows[i].name) == count && memcmp(rows[i].name, name, count) == 0)
            return &rows[i];
    }
    return NULL;
}

static void *
field_of(struct settings *settings, const struct setting *setting)
{
    return (char *)settings + setting->offset;
}

static const void *
field_of_const(const struct settings *settings, const struct setting *setting)
{
    return (const char *)settings + setting->offset;
}

static bool
in_range(const struct setting *setting, uint64_t value)
{
    return value <= INT64_MAX && (int64_t)value >= setting->min && (int64_t)value <= setting->max;
}

static bool
set_unsigned(void *field, const struct setting *setting, const char *text, size_t count)
{
    bool bytes = setting->type == SETTING_BYTES;
    uint64_t value;

    if (!(bytes ? parse_bytes(text, count, &value) : parse_u64(text, count, &value)))
        return false;
    if (!in_range(setting, value))
        return false;
    *(uint64_t *)field = value;
    return true;
}

static bool
set_signed(void *field, const struct setting *setting, const char *text, size_t count)
{
    uint64_t bytes;
    int64_t value;

    if (setting->type == SETTING_MS) {
        if (!parse_ms(text, count, &value))
            return false;
    } else if (!parse_i64(text, count, &value)) {
        if (!parse_bytes(text, count, &bytes) || bytes > INT64_MAX)
            return false;
        value = (int64_t)bytes;
    }
    if (value < setting->min || value > setting->max)
        return false;
    *(int64_t *)field = value;
    return true;
}

static bool
set_text(void *field, const struct setting *setting, const char *text, size_t count)
{
    _Static_assert(CONFIG_TEXT_MAX > 250, "settings.def allows texts of 250 bytes");

    if (!in_range(setting, count) || memchr(text, '\0', count) != NULL)
        return false;
    memset(field, 0, CONFIG_TEXT_MAX);
    __builtin_memcpy(field, text, count);
    return true;
}

static bool
set_host_port(void *field, const struct setting *setting, const char *text, size_t count)
{
    struct host_port value = {0};
    struct parse_host parsed = {.host = value.host, .capacity = sizeof(value.host)};

    bool is_off = count == 0 || (count == 3 && memcmp(text, "off", 3) == 0);

    if (is_off ? setting->min != 0 : !parse_host_port(text, count, &parsed))
        return false;
    value.port = parsed.port;
    *(struct host_port *)field = value;
    return true;
}

static bool
set_field(void *field, const struct setting *setting, const char *text, size_t count)
{
    switch (setting->type) {
    case SETTING_BOOL:
        return parse_bool(text, count, field);
    case SETTING_U64:
    case SETTING_BYTES:
        return set_unsigned(field, setting, text, count);
    case SETTING_SIZE_OR_NONE:
    case SETTING_MS:
        return set_signed(field, setting, text, count);
    case SETTING_TEXT:
        return set_text(field, setting, text, count);
    case SETTING_CHOICE:
        return parse_choice(text, count, setting->unit, field);
    case SETTING_HOST_PORT:
        return set_host_port(field, setting, text, count);
    }
    return false;
}

enum rc
config_set(struct settings *settings,
           const struct setting *setting,
           const char *text,
           size_t count,
           struct diag_trail *trail)
{
    char allowed[160];

    if (set_field(field_of(settings, setting), setting, text, count))
        return RC_OK;
    config_allowed(setting, allowed, sizeof(allowed));
    diag_trail_add(trail,
                   "%s: '%.*s' is not allowed, it takes %s",
                   setting->name,
                   (int)min_u64(count, 60),
                   text,
                   allowed);
    return RC_INVALID;
}

void
config_defaults(struct settings *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (uint32_t i = 0; i < config_count(); i++) {
        const struct setting *row = &rows[i];
        /* A default outside its own range is our bug; a unit test sets every one and reads it back.
         */
        (void)set_field(field_of(ret, row), row, row->preset, strlen(row->preset));
    }
}

static void
choice_word(const char *words, uint32_t index, char *ret, size_t capacity)
{
    for (; index > 0 && *words != '\0'; index--) {
        words += strcspn(words, "|");
        words += *words == '|';
    }
    (void)snprintf(ret, capacity, "%.*s", (int)strcspn(words, "|"), words);
}

static void
host_port_text(const struct host_port *value, char *ret, size_t capacity)
{
    bool v6 = strchr(value->host, ':') != NULL;

    if (value->host[0] == '\0')
        (void)snprintf(ret, capacity, "%s", "");
    else
        (void)snprintf(ret, capacity, v6 ? "[%s]:%u" : "%s:%u", value->host, (unsigned)value->port);
}

static void
number_text(enum setting_type type, int64_t value, char *ret, size_t capacity)
{
    if (type == SETTING_MS)
        format_ms(value, ret, capacity);
    else if (value >= 0 && type != SETTING_U64)
        format_bytes((uint64_t)value, ret, capacity);
    else
        (void)snprintf(ret, capacity, "%" PRId64, value);
}

void
config_value(const struct settings *settings,
             const struct setting *setting,
             char *ret,
             size_t capacity)
{
    const void *field = field_of_const(settings, setting);

    switch (setting->type) {
    case SETTING_BOOL:
        (void)snprintf(ret, capacity, "%s", *(const bool *)field ? "true" : "false");
        break;
    case SETTING_U64:
    case SETTING_BYTES:
    case SETTING_SIZE_OR_NONE:
    case SETTING_MS:
        /* All four are 64 bits wide and at most INT64_MAX, which set_unsigned() saw to. */
        number_text(setting->type, *(const int64_t *)field, ret, capacity);
        break;
    case SETTING_TEXT:
        (void)snprintf(ret, capacity, "%s", (const char *)field);
        break;
    case SETTING_CHOICE:
        choice_word(setting->unit, *(const uint32_t *)field, ret, capacity);
        break;
    case SETTING_HOST_PORT:
        host_port_text(field, ret, capacity);
        break;
    }
}

void
config_allowed(const struct setting *setting, char *ret, size_t capacity)
{
    static const char *const nouns[] = {
        [SETTING_U64] = "a number",
        [SETTING_BYTES] = "a size",
        [SETTING_SIZE_OR_NONE] = "a size",
        [SETTING_MS] = "a duration",
    };
    char min[32];
    char max[32];

    switch (setting->type) {
    case SETTING_BOOL:
        (void)snprintf(ret, capacity, "true or false");
        return;
    case SETTING_TEXT:
        (void)snprintf(ret,
                       capacity,
                       "a text of %" PRId64 " to %" PRId64 " bytes",
                       setting->min,
                       setting->max);
        return;
    case SETTING_CHOICE:
        (void)snprintf(ret, capacity, "one of %s", setting->unit);
        return;
    case SETTING_HOST_PORT:
        (void)snprintf(
            ret, capacity, "HOST:PORT or [V6]:PORT%s", setting->min == 0 ? ", or off" : "");
        return;
    case SETTING_U64:
    case SETTING_BYTES:
    case SETTING_SIZE_OR_NONE:
    case SETTING_MS:
        break;
    }
    number_text(setting->type, setting->min, min, sizeof(min));
    number_text(setting->type, setting->max, max, sizeof(max));
    if (setting->max == INT64_MAX)
        (void)snprintf(ret, capacity, "%s from %s", nouns[setting->type], min);
    else
        (void)snprintf(ret, capacity, "%s from %s to %s", nouns[setting->type], min, max);
}
