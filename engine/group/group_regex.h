/* Patterns of topic names (SubscribedTopicRegex): a bounded matcher without memory of its own.
 *
 * The language is the common part of RE2 and POSIX that topic names need: literals, `.`, `[a-z]`,
 * `[^a-z]`, `\d \w \s \D \W \S`, escaped punctuation, `( )`, `(?: )`, `|`, `* + ?` and their lazy
 * forms,
 * `^` at the beginning and `$` at the end. A whole name must match. Counts `{m,n}`, back
 * references, look-around and flags are refused, because they are not bounded or not needed.
 * Matching takes time proportional to the pattern times the name (Thompson's automaton). Pure. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_REGEX_H
#define EAGRE_ENGINE_GROUP_GROUP_REGEX_H

#include "engine/base/bytes.h"

#define GROUP_REGEX_BYTES_MAX 249u /* as long as a topic's name may be */
#define GROUP_REGEX_OPS_MAX 512u

struct group_regex_op {
    uint8_t kind;
    uint16_t out[2];
    uint32_t set[8]; /* bit per byte value */
};

struct group_regex {
    struct group_regex_op ops[GROUP_REGEX_OPS_MAX];
    uint32_t op_count;
    uint32_t first;
};

/* False: not of the language above, or too long. */
bool group_regex_make(struct group_regex *regex, struct bytes pattern) MUST_USE;
bool group_regex_matches(const struct group_regex *regex, struct bytes name);

#endif
