/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where things lie in a guest's memory; shared by the guests' programs (guest.S) and the VMM.
 *
 * A guest has no more than this: page tables that map its first 2 MiB one to one, a page shared by
 * its vCPUs, its code, and for each vCPU a slot that holds its counter and its stack.
 */
#ifndef SELFTESTS_GUEST_H
#define SELFTESTS_GUEST_H

#define GUEST_PML4		0x0000
#define GUEST_PDPT		0x1000
#define GUEST_PD		0x2000
#define GUEST_SHARED		0x3000
#define GUEST_CODE		0x4000
#define GUEST_SLOTS		0x5000
#define GUEST_SLOT_SIZE		0x100	/* the counter at its start, the stack from its end down */

#define GUEST_CS		0x08
#define GUEST_SS		0x10

#define GUEST_VECTOR_TICK	0x20	/* counted */
#define GUEST_VECTOR_PING	0x21	/* counted, and answered */
#define GUEST_NR_VECTORS	0x22

#define GUEST_PORT		0x10	/* where guest_io() writes to */

#endif /* SELFTESTS_GUEST_H */
