//! What Plimsoll touches on the machine: processes, memory, cgroups, the jobserver.
