// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

import { test as base } from '@playwright/test'
import { giveBack, renewUser, takeUser, type TestUser } from '../vault.ts'

export { expect } from '@playwright/test'

/** test has the fixture user: one user per worker, so that parallel workers do not share a session. */
export const test = base.extend<{ user: TestUser }, { workerUser: TestUser }>({
  workerUser: [
    async ({}, use) => {
      const user = await takeUser()
      try {
        await use(user)
      } finally {
        await giveBack(user)
      }
    },
    { scope: 'worker' },
  ],
  user: async ({ workerUser }, use) => {
    await renewUser(workerUser)
    await use(workerUser)
  },
})
