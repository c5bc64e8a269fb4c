/* YAML by libyaml's events. Only mappings and scalars mean something here: lists, anchors, aliases
 * and second documents are refused. Nested keys are joined by dots and looked up in the table. */
#include "engine/base/check.h"
#include "engine/config/config.h"

#include <string.h>
#include <yaml.h>

#define YAML_DEPTH_MAX 4u
#define YAML_KEY_MAX 128u
#define YAML_SETTINGS_MAX 128u

struct walk {
    struct settings *settings;
    struct diag_trail *trail;
    const char *name; /* of the file */
    uint32_t depth;   /* open mappings */
    size_t
        prefix_count[YAML_DEPTH_MAX]; /* [depth] bytes of key that belong to the mappings around */
    char key[YAML_KEY_MAX];           /* dotted, not NUL-ended */
    size_t key_count;
    bool has_key;                       /* a key was read, its value is next */
    bool finished;                      /* the document ended */
    uint32_t set_at[YAML_SETTINGS_MAX]; /* [setting] line that set it, 0: none */
};

static uint32_t
line_of(const yaml_mark_t *mark)
{
    return (uint32_t)mark->line + 1;
}

/* "file.yaml:12: 'journal.size': unknown key": what the user needs to mend it. */
static enum rc
refuse(const struct walk *walk, const yaml_event_t *event, const char *why)
{
    bool keyed = walk->key_count > 0;

    diag_trail_add(walk->trail,
                   "%s:%u: %s%.*s%s%s",
                   walk->name,
                   line_of(&event->start_mark),
                   keyed ? "'" : "",
                   (int)walk->key_count,
                   walk->key,
                   keyed ? "': " : "",
                   why);
    return RC_INVALID;
}

static enum rc
take_key(struct walk *walk, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t count = event->data.scalar.length;
    size_t at = walk->prefix_count[walk->depth - 1];

    if (count == 0 || at + count + 1 > sizeof(walk->key) || memchr(text, '\0', count) != NULL)
        return refuse(walk, event, "key is empty or too long");
    if (at > 0)
        walk->key[at++] = '.';
    __builtin_memcpy(walk->key + at, text, count);
    walk->key_count = at + count;
    walk->has_key = true;
    return RC_OK;
}

static enum rc
take_value(struct walk *walk, const yaml_event_t *event)
{
    const struct setting *setting = config_find(walk->key, walk->key_count);
    const char *text = (const char *)event->data.scalar.value;
    uint32_t line = line_of(&event->start_mark);
    uint32_t *set_at;
    enum rc rc;

    _Static_assert(YAML_KEY_MAX < 200, "a message holds the longest key");
    if (setting == NULL)
        return refuse(walk, event, "unknown key; deploy/config/eagre.yaml lists them");
    if (strcmp(setting->name, "config") == 0)
        return refuse(walk, event, "a file cannot name another file");
    CHECK(config_count() <= YAML_SETTINGS_MAX);
    set_at = &walk->set_at[setting - config_at(0)];
    if (*set_at != 0)
        return refuse(walk, event, "set twice");
    *set_at = line;
    rc = config_set(walk->settings, setting, text, event->data.scalar.length, walk->trail);
    if (rc != RC_OK)
        diag_trail_add(walk->trail, "%s:%u", walk->name, line);
    walk->has_key = false;
    walk->key_count = 0;
    return rc;
}

static enum rc
open_mapping(struct walk *walk, const yaml_event_t *event)
{
    if (walk->depth > 0 && !walk->has_key)
        return refuse(walk, event, "a key cannot be a mapping");
    if (walk->depth == YAML_DEPTH_MAX)
        return refuse(walk, event, "nested too deeply");
    walk->prefix_count[walk->depth++] = walk->key_count;
    walk->has_key = false;
    return RC_OK;
}

static enum rc
close_mapping(struct walk *walk)
{
    walk->depth--;
    walk->key_count = 0;
    walk->has_key = false;
    return RC_OK;
}

static enum rc
take_scalar(struct walk *walk, const yaml_event_t *event)
{
    if (walk->depth > 0)
        return walk->has_key ? take_value(walk, event) : take_key(walk, event);
    /* A file of comments only is one empty scalar. */
    if (event->data.scalar.length == 0)
        return RC_OK;
    return refuse(walk, event, "settings are written as 'key: value'");
}

static enum rc
take_event(struct walk *walk, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        if (event->data.scalar.anchor != NULL)
            return refuse(walk, event, "anchors are not used here");
        return take_scalar(walk, event);
    case YAML_MAPPING_START_EVENT:
        if (event->data.mapping_start.anchor != NULL)
            return refuse(walk, event, "anchors are not used here");
        return open_mapping(walk, event);
    case YAML_MAPPING_END_EVENT:
        return close_mapping(walk);
    case YAML_DOCUMENT_START_EVENT:
        return walk->finished ? refuse(walk, event, "only one document is read") : RC_OK;
    case YAML_DOCUMENT_END_EVENT:
        walk->finished = true;
        return RC_OK;
    case YAML_SEQUENCE_START_EVENT:
        return refuse(walk, event, "a list is not a value here");
    case YAML_ALIAS_EVENT:
        return refuse(walk, event, "aliases are not used here");
    default:
        return RC_OK;
    }
}

enum rc
config_yaml(struct settings *settings,
            const char *name,
            const void *text,
            size_t count,
            struct diag_trail *trail)
{
    struct walk walk = {.settings = settings, .trail = trail, .name = name};
    yaml_parser_t parser;
    bool ended = false;
    enum rc rc = RC_OK;

    if (yaml_parser_initialize(&parser) == 0)
        return RC_NO_MEMORY;
    yaml_parser_set_input_string(&parser, text, count);
    while (!ended && rc == RC_OK) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            diag_trail_add(trail,
                           "%s:%u: not YAML: %s",
                           name,
                           line_of(&parser.problem_mark),
                           parser.problem != NULL ? parser.problem : "out of memory");
            rc = RC_MALFORMED;
            break;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        rc = take_event(&walk, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rc;
}
