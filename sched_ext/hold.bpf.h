/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Holding a thread back though it wants to run, and telling the module why: what it waits from now
 * on is co-stop, or throttled, and not ready. To run ends it, too.
 */
#ifndef KVMGANG_HOLD_BPF_H
#define KVMGANG_HOLD_BPF_H

#include "ready.bpf.h"

int kvmgang_hold(s32 tid, u32 state) __ksym;
int kvmgang_release(s32 tid) __ksym;

/* enum kvmgang_state, whose header vmlinux.h does not go with. */
enum { HELD_COSTOP = 2, HELD_THROTTLED = 3 };

static void hold(const struct task_struct *p, struct thread *t, u32 state)
{
	if (t->held == state)
		return;
	t->held = state;
	ready_ends(t);
	kvmgang_hold(p->pid, state);
}

static void release(const struct task_struct *p, struct thread *t)
{
	if (!t->held)
		return;
	t->held = 0;
	ready_begins(t);
	kvmgang_release(p->pid);
}

#endif /* KVMGANG_HOLD_BPF_H */
