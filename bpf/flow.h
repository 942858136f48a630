/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The one home of the structs that the programs and user space share. */
#pragma once
