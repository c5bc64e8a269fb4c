/* Memory of a fixture that lives as long as its test, which is a process of its own: nobody gives
 * it back. What passes through kept() stays reachable until the process ends, so that a leak report
 * is always about the code under test. */
#ifndef EAGRE_TESTS_UNIT_KEPT_H
#define EAGRE_TESTS_UNIT_KEPT_H

#include <stdlib.h>

/* Returns memory, which is from malloc() or one of its kin; NULL stops the test. */
static inline void *
kept(void *memory)
{
    static struct kept_node {
        struct kept_node *older;
        void *memory;
    } * newest;
    struct kept_node *node = malloc(sizeof(*node));

    if (memory == NULL || node == NULL)
        abort();
    *node = (struct kept_node){newest, memory};
    newest = node;
    return memory;
}

#endif
