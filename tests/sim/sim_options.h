/* The command line that the programs of this folder share. */
#ifndef EAGRE_TESTS_SIM_SIM_OPTIONS_H
#define EAGRE_TESTS_SIM_SIM_OPTIONS_H

#include "engine/base/base.h"

struct sim_options {
    uint64_t first; /* --seed N or --from N */
    uint64_t count; /* --count N; 1 with --seed */
    bool single;    /* --seed was given */
    bool all;       /* --all: also what takes long */
    bool stop;      /* --stop: at the first failure */
    bool verbose;   /* --verbose: one line per event */
    uint32_t part;  /* --part I/N: only the I-th of N equal shares */
    uint32_t parts;
};

/* Reads the arguments; prints a usage line naming the program and returns false when they are
 * wrong. */
bool sim_options_read(struct sim_options *options, int count, char **arguments);
/* True when a case of this number belongs to this process. */
bool sim_options_mine(const struct sim_options *options, uint64_t number);
/* Names the case that runs now: should the program be stopped by a CHECK, this is told before it
 * ends. option: "--seed", ... */
void sim_options_case(const char *option, uint64_t number);
/* Prints the last line; returns the exit status. */
int sim_options_end(uint64_t passed, uint64_t failed);
/* Lines of the engine's diagnostics are kept back unless verbose. */
void sim_options_quiet(const struct sim_options *options);

#endif
