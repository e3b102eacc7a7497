// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

import { defineConfig } from 'cypress'
import { giveBack, renewUser, takeUser, type TestUser } from './vault.ts'

export default defineConfig({
  // A video or a screenshot would store the password that a test types.
  video: false,
  screenshotOnRunFailure: false,
  // after:run, which gives the user back, comes in `cypress open` only with this.
  experimentalInteractiveRunEvents: true,
  e2e: {
    baseUrl: process.env.APP_URL,
    specPattern: 'cypress/e2e/**/*.cy.ts',
    supportFile: 'cypress/support/e2e.ts',
    setupNodeEvents(on) {
      let user: TestUser | undefined
      on('task', {
        /** testUser returns the user of this run, one per machine or process. */
        async testUser(): Promise<TestUser> {
          user ??= await takeUser()
          await renewUser(user)
          return user
        },
      })
      on('after:run', async () => {
        if (user) await giveBack(user)
      })
    },
  },
})
