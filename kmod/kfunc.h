/* SPDX-License-Identifier: GPL-2.0 */
/* What a sched_ext scheduler may ask and tell: see kfunc.c. */
#ifndef KVMGANG_KFUNC_H
#define KVMGANG_KFUNC_H

/*
 * Grows with every change of a kfunc's meaning or signature. A scheduler compares it with the one
 * it was built for before it attaches.
 */
#define KVMGANG_KFUNC_ABI	1

/* At insmod; may sleep. The kfuncs go with the module, which BPF programs hold. */
int kfunc_init(void);

#endif /* KVMGANG_KFUNC_H */
