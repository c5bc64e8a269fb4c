/* Goal: patterns of topic names mean what RE2 and POSIX say of them, or are refused; no pattern
 * costs much. Method: bad patterns first, then a table. */
#include "engine/group/group_regex.h"
#include "tests/unit/engine/group/fixture.h"

#include <criterion/criterion.h>

static struct group_regex regex;

Test(group_regex, refuses_what_it_cannot_bound_or_does_not_know, .timeout = 10)
{
    static const char *const bad[] = {
        "(",   ")",           "a)",   "(a",   "*",   "a**",  "a+*",   "|*",       "[a",
        "[]",  "[b-a]",       "a{2}", "}",    "\\1", "\\",   "(?=a)", "(?i)a",    "a^b",
        "a$b", "[[:alpha:]]", "\\pL", "a???", "(?",  "[a\\", "\\z",   "(?P<n>a)",
    };
    char deep[200];

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(!group_regex_make(&regex, text(bad[i])), "%s", bad[i]);
    memset(deep, '(', 100);
    memset(deep + 100, ')', 99);
    deep[199] = '\0';
    cr_expect(!group_regex_make(&regex, text(deep)), "too deep");
    char long_one[GROUP_REGEX_BYTES_MAX + 2];
    memset(long_one, 'a', sizeof(long_one));
    cr_expect(
        !group_regex_make(&regex, (struct bytes){(const uint8_t *)long_one, sizeof(long_one) - 1}));
    cr_expect(
        group_regex_make(&regex, (struct bytes){(const uint8_t *)long_one, sizeof(long_one) - 2}));
}

Test(group_regex, matches_whole_names, .timeout = 10)
{
    static const struct {
        const char *pattern;
        const char *name;
        bool matches;
    } cases[] = {
        {"a", "a", true},
        {"a", "ab", false},
        {"a", "", false},
        {"", "", true},
        {".*", "", true},
        {".*", "orders-1", true},
        {"^a.*$", "abc", true},
        {"a|b", "b", true},
        {"a|b", "ab", false},
        {"(a|b)+c", "abac", true},
        {"(a|b)+c", "c", false},
        {"(a|b)*c", "c", true},
        {"ab?c", "ac", true},
        {"ab?c", "abbc", false},
        {"x(?:yz)+", "xyzyz", true},
        {"[a-c]+", "abcab", true},
        {"[^a-c]+", "xyz", true},
        {"[^a-c]+", "xaz", false},
        {"[]a]+", "]a", true},
        {"[a-]+", "a-a", true},
        {"t\\.\\d+", "t.12", true},
        {"t\\.\\d+", "tx12", false},
        {"\\w+", "a_9", true},
        {"\\W", "-", true},
        {"[\\d_]+", "1_2", true},
        {"a.*?b", "axxb", true},
        {"(|a)b", "b", true},
        {"a(b|)c", "ac", true},
        {"((a))", "a", true},
        {"a+b+", "aabb", true},
        {"orders-(eu|us)-.*", "orders-us-7", true},
        {"()", "", true},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_assert(group_regex_make(&regex, text(cases[i].pattern)), "%s", cases[i].pattern);
        cr_expect_eq(group_regex_matches(&regex, text(cases[i].name)),
                     cases[i].matches,
                     "%s on %s",
                     cases[i].pattern,
                     cases[i].name);
    }
}

Test(group_regex, is_not_slowed_down_by_patterns_that_try_everything, .timeout = 5)
{
    char name[250];

    memset(name, 'a', sizeof(name));
    name[249] = '\0';
    cr_assert(group_regex_make(&regex, text("(a*)*(a*)*(a*)*(a|aa)*(a|aa)*b")));
    for (int i = 0; i < 1000; i++)
        cr_assert(!group_regex_matches(&regex, text(name)));
}
