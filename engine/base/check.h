/* CHECK stops the program on a bug of ours, in every build; DCHECK does so in dev, sim and
 * sanitizer builds (EAGRE_DCHECK=1), for checks too costly for release. Never used on input from
 * outside: that is an enum rc. One fact per line. The message goes to stderr, then abort(). */
#ifndef EAGRE_ENGINE_BASE_CHECK_H
#define EAGRE_ENGINE_BASE_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *fact);

#define CHECK(fact)                                  \
    do {                                             \
        if (__builtin_expect(!(fact), 0))            \
            check_failed(__FILE__, __LINE__, #fact); \
    } while (0)

#if defined(EAGRE_DCHECK) && EAGRE_DCHECK
#define DCHECK(fact) CHECK(fact)
#else
#define DCHECK(fact) ((void)sizeof(fact))
#endif

#endif
