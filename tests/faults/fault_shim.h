// A disk that fails on demand, for tests: a shared object that stands before the C library.
//
// Loaded by LD_PRELOAD, it counts the calls of a process that change or read what lies under one
// folder, lets the N-th of them fail, and can write down what reached the disk and what was synced.
// A test program finds the functions below with dlsym; any other program is told by its
// environment:
//
//   MED3D_FAULT_FOLDER   absolute path without links; calls elsewhere pass
//   MED3D_FAULT_AT       N, from 1; 0 counts only
//   MED3D_FAULT_KIND     one of the names below
//   MED3D_FAULT_LASTS    "once" (default) or "on": that call, or all from there on
//   MED3D_FAULT_TELL     a file outside the folder that is made when the fault falls
//   MED3D_FAULT_COUNT    one that is given the number of calls when the process ends
//
//   kind     calls it counts and fails
//   ENOSPC   open to make a file, write, fsync, rename, mkdir, ftruncate, fallocate
//   EDQUOT   the same
//   EIO      the same, and any open, read and unlink
//   EMFILE   any open
//   SHORT    write: takes half of the bytes
#pragma once

extern "C" {

// Arms for calls from now on. `folder` as MED3D_FAULT_FOLDER; at = 0 counts only.
using FaultsArm = void (*)(const char* folder, long at, const char* kind, int lasts);
// Ends it. Returns how many calls were counted.
using FaultsDisarm = long (*)();
// Whether the fault has fallen since it was armed.
using FaultsFell = int (*)();
// Writes all changes under the folder to `fd` until called with -1; see read_disk_log.
using FaultsRecord = void (*)(const char* folder, int fd);
// A line of the caller's own in that record.
using FaultsMark = void (*)(const char* text);
}

// The names under which dlsym finds them.
constexpr const char* kFaultsArm = "med3d_faults_arm";
constexpr const char* kFaultsDisarm = "med3d_faults_disarm";
constexpr const char* kFaultsFell = "med3d_faults_fell";
constexpr const char* kFaultsRecord = "med3d_faults_record";
constexpr const char* kFaultsMark = "med3d_faults_mark";
