/* SPDX-License-Identifier: GPL-2.0 */
/* What costart.bpf.c and test_costart.c tell each other; after vmlinux.h or <linux/types.h>. */
#ifndef SELFTESTS_COSTART_H
#define SELFTESTS_COSTART_H

#define MAX_VMS		8

/* A tenth of the bound that is tested. */
#define BUCKET_NS	20000
#define NR_BUCKETS	301

/* A vCPU's thread. */
struct member {
	__u64 all;		/* bit n: the VM's n-th vCPU, for each that it has */
	__u32 nr;		/* this one's place among them, */
	__u32 vm;		/* and the VM's among those that are watched */
	__u32 arrives;		/* it got a pCPU, and has not entered the guest since */
};

#endif /* SELFTESTS_COSTART_H */
