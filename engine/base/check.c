#include "engine/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void
check_failed(const char *file, int line, const char *fact)
{
    fprintf(stderr, "eagre: %s:%d: CHECK failed: %s\n", file, line, fact);
    abort();
}
