/* SPDX-License-Identifier: GPL-2.0 */
/* Directed yields: see yield.c. Both may sleep. */
#ifndef KVMGANG_YIELD_H
#define KVMGANG_YIELD_H

int yield_init(void);
void yield_exit(void);

#endif /* KVMGANG_YIELD_H */
