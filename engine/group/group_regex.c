#include "engine/group/group_regex.h"

#include "engine/base/check.h"

/* The pattern is turned into postfix order, that into an automaton by joining fragments whose open
 * ends are patched (K. Thompson 1968; R. Cox, "Regular Expression Matching Can Be Simple And
 * Fast"). Loops and alternatives are OP_SPLIT; all states are followed at once. */
enum { OP_SET, OP_SPLIT, OP_NOTHING, OP_MATCH };
enum { TOKEN_SET, TOKEN_EMPTY, TOKEN_CAT, TOKEN_ALT, TOKEN_STAR, TOKEN_PLUS, TOKEN_OPTION };
#define REGEX_DEPTH_MAX 32u
#define REGEX_OPEN 0xffffu /* an end that leads nowhere yet */

struct level {
    uint32_t alternatives;
    uint32_t atoms;
};

/* A pattern on its way to postfix order. A set's token is followed by the place of its bits. */
struct parse {
    const uint8_t *at;
    const uint8_t *end;
    uint8_t tokens[GROUP_REGEX_OPS_MAX];
    uint32_t token_count;
    uint32_t sets[GROUP_REGEX_OPS_MAX][8];
    uint32_t set_count;
    struct level levels[REGEX_DEPTH_MAX];
    uint32_t depth;
    struct level now;
    bool failed;
};

static void
parse_emit(struct parse *parse, uint8_t token)
{
    if (parse->token_count == GROUP_REGEX_OPS_MAX)
        parse->failed = true;
    else
        parse->tokens[parse->token_count++] = token;
}

/* ---- sets of bytes */

static void
set_add(uint32_t *set, uint32_t first, uint32_t last)
{
    for (uint32_t c = first; c <= last; c++)
        set[c / 32] |= 1u << (c % 32);
}

static void
set_invert(uint32_t *set)
{
    for (uint32_t i = 0; i < 8; i++)
        set[i] = ~set[i];
}

/* The character behind a backslash. */
static bool
set_escape(uint32_t *set, uint8_t c)
{
    uint32_t class[8] = {0};

    switch (c | 0x20) {
    case 'd':
        set_add(class, '0', '9');
        break;
    case 'w':
        set_add(class, '0', '9');
        set_add(class, 'a', 'z');
        set_add(class, 'A', 'Z');
        set_add(class, '_', '_');
        break;
    case 's':
        set_add(class, '\t', '\r');
        set_add(class, ' ', ' ');
        break;
    default:
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 128)
            return false;
        set_add(set, c, c);
        return true;
    }
    if (c < 'a')
        set_invert(class);
    for (uint32_t i = 0; i < 8; i++)
        set[i] |= class[i];
    return true;
}

/* What stands in brackets; at points behind the opening one. */
static bool
set_brackets(struct parse *parse, uint32_t *set)
{
    bool is_inverted = parse->at < parse->end && *parse->at == '^';
    bool is_first = true;

    parse->at += is_inverted;
    for (; parse->at < parse->end; is_first = false) {
        uint8_t c = *parse->at++;
        if (c == ']' && !is_first) {
            if (is_inverted)
                set_invert(set);
            return true;
        }
        if (c == '[' && parse->at < parse->end && *parse->at == ':')
            return false; /* named classes */
        if (c == '\\') {
            if (parse->at == parse->end || !set_escape(set, *parse->at++))
                return false;
            continue;
        }
        uint8_t last = c;
        if (parse->end - parse->at >= 2 && parse->at[0] == '-' && parse->at[1] != ']') {
            last = parse->at[1];
            parse->at += 2;
        }
        if (last < c || last == '\\' || last == '[')
            return false;
        set_add(set, c, last);
    }
    return false;
}

static void
parse_set(struct parse *parse, uint8_t c)
{
    if (parse->set_count == GROUP_REGEX_OPS_MAX) {
        parse->failed = true;
        return;
    }
    uint32_t *set = parse->sets[parse->set_count++];
    bool ok = true;

    if (c == '.') {
        set_add(set, 0, 255);
    } else if (c == '[') {
        ok = set_brackets(parse, set);
    } else if (c == '\\') {
        ok = parse->at < parse->end && set_escape(set, *parse->at);
        parse->at += ok;
    } else {
        ok = c != '{' && c != '}' && c != ']';
        set_add(set, c, c);
    }
    parse->failed |= !ok;
    if (parse->now.atoms > 1) {
        parse->now.atoms--;
        parse_emit(parse, TOKEN_CAT);
    }
    parse_emit(parse, TOKEN_SET);
    parse->now.atoms++;
}

/* ---- to postfix order */

/* All that one alternative lists becomes one atom. */
static void
parse_end_alternative(struct parse *parse)
{
    if (parse->now.atoms == 0)
        parse_emit(parse, TOKEN_EMPTY);
    for (; parse->now.atoms > 1; parse->now.atoms--)
        parse_emit(parse, TOKEN_CAT);
    parse->now.atoms = 0;
}

static void
parse_end_level(struct parse *parse)
{
    parse_end_alternative(parse);
    for (; parse->now.alternatives > 0; parse->now.alternatives--)
        parse_emit(parse, TOKEN_ALT);
}

static void
parse_open(struct parse *parse)
{
    if (parse->now.atoms > 1) {
        parse->now.atoms--;
        parse_emit(parse, TOKEN_CAT);
    }
    if (parse->at < parse->end && *parse->at == '?') {
        parse->failed |= parse->end - parse->at < 2 || parse->at[1] != ':';
        parse->at += 2;
    }
    if (parse->depth == REGEX_DEPTH_MAX || parse->failed) {
        parse->failed = true;
        return;
    }
    parse->levels[parse->depth++] = parse->now;
    parse->now = (struct level){0};
}

static void
parse_close(struct parse *parse)
{
    if (parse->depth == 0) {
        parse->failed = true;
        return;
    }
    parse_end_level(parse);
    parse->now = parse->levels[--parse->depth];
    parse->now.atoms++;
}

static void
parse_repeat(struct parse *parse, uint8_t c)
{
    bool may = parse->now.atoms > 0;

    parse_emit(parse, c == '*' ? TOKEN_STAR : c == '+' ? TOKEN_PLUS : TOKEN_OPTION);
    if (parse->at < parse->end && *parse->at == '?')
        parse->at++; /* lazy: the same for a whole match */
    bool again = parse->at < parse->end &&
                 (*parse->at == '*' || *parse->at == '+' || *parse->at == '?');
    parse->failed |= !may || again;
}

static bool
parse_pattern(struct parse *parse, struct bytes pattern)
{
    parse->at = pattern.at;
    parse->end = pattern.at + pattern.count;
    while (parse->at < parse->end && !parse->failed) {
        bool at_begin = parse->at == pattern.at;
        uint8_t c = *parse->at++;
        switch (c) {
        case '(':
            parse_open(parse);
            break;
        case ')':
            parse_close(parse);
            break;
        case '|':
            parse_end_alternative(parse);
            parse->now.alternatives++;
            break;
        case '*':
        case '+':
        case '?':
            parse_repeat(parse, c);
            break;
        case '^':
            parse->failed |= !at_begin;
            break;
        case '$':
            parse->failed |= parse->at != parse->end;
            break;
        default:
            parse_set(parse, c);
        }
    }
    parse_end_level(parse);
    return !parse->failed && parse->depth == 0;
}

/* ---- to an automaton */

/* Its open ends are chained through themselves: (op << 1 | end) + 1, 0 ends the chain. */
struct fragment {
    uint16_t first;
    uint16_t open;
};

struct build {
    struct group_regex *regex;
    struct fragment stack[GROUP_REGEX_OPS_MAX];
    uint32_t count;
};

static uint16_t
build_op(struct build *build, uint8_t kind)
{
    struct group_regex *regex = build->regex;

    if (regex->op_count == GROUP_REGEX_OPS_MAX)
        return REGEX_OPEN;
    regex->ops[regex->op_count] = (struct group_regex_op){.kind = kind};
    return (uint16_t)regex->op_count++;
}

static uint16_t
build_end(uint16_t op, uint16_t end)
{
    return (uint16_t)((op << 1 | end) + 1);
}

static void
build_patch(struct build *build, uint16_t open, uint16_t to)
{
    while (open != 0) {
        uint16_t *out = &build->regex->ops[(open - 1) >> 1].out[(open - 1) & 1];
        open = *out;
        *out = to;
    }
}

static uint16_t
build_join(struct build *build, uint16_t a, uint16_t b)
{
    uint16_t at = a;

    for (;;) {
        uint16_t *out = &build->regex->ops[(at - 1) >> 1].out[(at - 1) & 1];
        if (*out == 0) {
            *out = b;
            return a;
        }
        at = *out;
    }
}

/* One token; false: the automaton is too large. */
static bool
build_token(struct build *build, uint8_t token, const uint32_t *set)
{
    struct fragment *top = &build->stack[build->count];
    uint16_t op = REGEX_OPEN;

    if (token == TOKEN_CAT) {
        build_patch(build, top[-2].open, top[-1].first);
        top[-2].open = top[-1].open;
        build->count--;
        return true;
    }
    op = build_op(build,
                  token == TOKEN_SET     ? OP_SET
                  : token == TOKEN_EMPTY ? OP_NOTHING
                                         : OP_SPLIT);
    if (op == REGEX_OPEN)
        return false;
    struct group_regex_op *made = &build->regex->ops[op];
    switch (token) {
    case TOKEN_SET:
        bytes_copy(made->set, sizeof(made->set), set, sizeof(made->set));
        /* fall through */
    case TOKEN_EMPTY:
        *top = (struct fragment){op, build_end(op, 0)};
        build->count++;
        return true;
    case TOKEN_ALT:
        made->out[0] = top[-2].first;
        made->out[1] = top[-1].first;
        top[-2] = (struct fragment){op, build_join(build, top[-2].open, top[-1].open)};
        build->count--;
        return true;
    case TOKEN_STAR:
    case TOKEN_PLUS:
        made->out[0] = top[-1].first;
        build_patch(build, top[-1].open, op);
        top[-1].open = build_end(op, 1);
        if (token == TOKEN_STAR)
            top[-1].first = op;
        return true;
    default:
        made->out[0] = top[-1].first;
        top[-1] = (struct fragment){op, build_join(build, top[-1].open, build_end(op, 1))};
        return true;
    }
}

bool
group_regex_make(struct group_regex *regex, struct bytes pattern)
{
    struct parse parse = {0};
    struct build build = {.regex = regex};
    uint32_t next_set = 0;

    regex->op_count = 0;
    if (pattern.count > GROUP_REGEX_BYTES_MAX || !parse_pattern(&parse, pattern))
        return false;
    for (uint32_t i = 0; i < parse.token_count; i++) {
        uint8_t token = parse.tokens[i];
        if (!build_token(&build, token, token == TOKEN_SET ? parse.sets[next_set++] : NULL))
            return false;
    }
    CHECK(build.count == 1);
    uint16_t match = build_op(&build, OP_MATCH);
    if (match == REGEX_OPEN)
        return false;
    build_patch(&build, build.stack[0].open, match);
    regex->first = build.stack[0].first;
    return true;
}

/* ---- matching */

struct states {
    uint64_t bits[GROUP_REGEX_OPS_MAX / 64];
    uint16_t list[GROUP_REGEX_OPS_MAX];
    uint32_t count;
};

/* Adds a state and what it leads to without a character; the list is also the stack of the walk. */
static void
states_add(const struct group_regex *regex, struct states *states, uint16_t first)
{
    uint32_t next = states->count;

    if ((states->bits[first / 64] & (UINT64_C(1) << (first % 64))) == 0) {
        states->bits[first / 64] |= UINT64_C(1) << (first % 64);
        states->list[states->count++] = first;
    }
    for (; next < states->count; next++) {
        const struct group_regex_op *at = &regex->ops[states->list[next]];
        uint32_t ends = at->kind == OP_SPLIT ? 2 : at->kind == OP_NOTHING;
        for (uint32_t i = 0; i < ends; i++) {
            uint16_t to = at->out[i];
            if ((states->bits[to / 64] & (UINT64_C(1) << (to % 64))) != 0)
                continue;
            states->bits[to / 64] |= UINT64_C(1) << (to % 64);
            states->list[states->count++] = to;
        }
    }
}

bool
group_regex_matches(const struct group_regex *regex, struct bytes name)
{
    struct states states[2];
    uint32_t now = 0;

    memset(&states[0], 0, sizeof(states[0]));
    states_add(regex, &states[0], (uint16_t)regex->first);
    for (size_t i = 0; i < name.count; i++, now ^= 1) {
        struct states *next = &states[now ^ 1];
        uint8_t c = name.at[i];
        memset(next, 0, sizeof(*next));
        for (uint32_t s = 0; s < states[now].count; s++) {
            const struct group_regex_op *op = &regex->ops[states[now].list[s]];
            if (op->kind == OP_SET && (op->set[c / 32] & (1u << (c % 32))) != 0)
                states_add(regex, next, op->out[0]);
        }
    }
    for (uint32_t s = 0; s < states[now].count; s++)
        if (regex->ops[states[now].list[s]].kind == OP_MATCH)
            return true;
    return false;
}
