/* SPDX-License-Identifier: GPL-2.0 */
/* Telling systemd, or whoever else started this as a service, how it goes. */
#ifndef KVMGANG_NOTIFY_H
#define KVMGANG_NOTIFY_H

/* Assignments as in sd_notify(3), one a line. Nobody listening is no error. */
__attribute__((format(printf, 1, 2))) void notify(const char *format, ...);

/* How often "WATCHDOG=1" is to be said, at most so many ms apart; -1: nobody wants to hear it. */
int notify_watchdog_ms(void);

#endif /* KVMGANG_NOTIFY_H */
